"""Likeness as a whole: patches, equal and unequal images, fields, baselines, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from picostem.errors import ImageError, UsageError
from picostem.style.baseline import with_equal_noise, with_matched_greys
from picostem.style.frechet import Features, frechet_distance, patch_features, shrunk
from picostem.style.histogram import grey_divergence
from picostem.style.metrics import COMPARES, common, floor, score
from picostem.style.spectrum import noise_variance, power, spectrum_distance
from tests.style.made_crystal import FloatArray, atoms, noise, picture


def test_frechet_distance_of_known_gaussians() -> None:
    """Equal up to a shift: its square. Commuting covariances: the squared difference of the standard deviations."""
    eye = np.eye(3)
    assert frechet_distance(Features(np.zeros(3), eye), Features(np.array([1.0, 2, 2]), eye)) == pytest.approx(9)
    narrow, wide = Features(np.zeros(3), np.diag([1.0, 4, 9])), Features(np.zeros(3), np.diag([4.0, 4, 1]))
    assert frechet_distance(narrow, wide) == pytest.approx(1 + 0 + 4)
    assert frechet_distance(wide, narrow) == pytest.approx(5)


def test_shrinkage_keeps_the_trace_and_ends_at_a_multiple_of_one() -> None:
    covariance = np.cov(np.random.default_rng(13).standard_normal((6, 50)))
    few, many = shrunk(covariance, 5), shrunk(covariance, 10**9)
    assert np.trace(few) == pytest.approx(np.trace(covariance))
    np.testing.assert_allclose(many, covariance, atol=1e-6)  # 1/n of it is left
    np.testing.assert_allclose(shrunk(2 * np.eye(4), 10), 2 * np.eye(4))


def test_patches_see_noise_that_grows_with_brightness() -> None:
    """Shot noise against noise of the same mean spectrum that is the same everywhere: only the patches differ."""
    clean, grain = atoms(384) - 0.15, noise((384, 384), 14)
    even = clean + 0.07 * grain
    shot = clean + 0.07 * grain * np.sqrt(clean / clean.mean())
    again = clean + 0.07 * noise((384, 384), 15)
    seen, unseen = (
        frechet_distance(*(patch_features(picture(one), np.random.default_rng(0)) for one in (even, other)))
        for other in (shot, again)
    )
    assert seen > 5 * unseen  # 0.16 and 0.007
    assert spectrum_distance(power(picture(even)), power(picture(shot))) < 0.05  # decades, the floor of experiments


def test_equal_pictures_are_alike() -> None:
    one = picture(atoms() + 0.05 * noise((256, 256), 16))
    found = score(one, one)
    values = {key: getattr(found.likeness, key) for key in COMPARES if key != "psnr"}
    # 1e-6: square roots of a matrix by its eigenvalues, in double precision, of features up to 5
    assert values == pytest.approx(dict.fromkeys(values, 0.0), abs=1e-6)
    assert found.as_dict()["psnr"] is None
    assert found.likeness.psnr == math.inf


def test_score_of_two_draws_is_below_that_of_another_noise() -> None:
    """The same crystal with fresh noise of the same kind, and with white noise as strong."""
    reference = picture(atoms() + 0.06 * noise((256, 256), 17, 1.0))
    again = score(picture(atoms() + 0.06 * noise((256, 256), 18, 1.0)), reference).likeness
    white = score(picture(atoms() + 0.06 * noise((256, 256), 19)), reference).likeness
    for key in ("spectrum", "spectrum_directional", "noise_autocorrelation", "frechet"):
        assert getattr(white, key) > 2 * getattr(again, key), key


def test_floor_grows_where_an_image_differs_from_place_to_place() -> None:
    """Noise that is the same everywhere against noise that grows from left to right."""
    grain = 0.06 * noise((256, 256), 20)
    even = floor(picture(atoms() + grain))
    uneven = floor(picture(atoms() + grain * np.linspace(0.2, 1.8, 256)))
    assert even.psnr is None
    for key in ("d_kl", "spectrum", "frechet"):
        assert getattr(uneven, key) > 3 * getattr(even, key), key
    assert 0 < even.spectrum < 0.15  # decades: half the rings hold a hundred frequencies and more


def test_pixel_sizes_are_brought_to_the_coarser_one() -> None:
    """One field sampled at 0.06 and 0.12 Å: alike once they are compared at 0.12 Å."""
    fine, coarse = picture(atoms(512, 0.06), 0.06, "fine"), picture(atoms(256, 0.12), 0.12)
    one, other = common(fine, coarse)
    assert one.pixel_size == other.pixel_size == 0.12
    assert one.data.shape == other.data.shape == (256, 256)
    found = score(fine, coarse)
    assert found.likeness.psnr is None
    assert found.likeness.d_kl < 1e-3  # bins of 2000 pixels each, some of which fall on the other side of an edge
    assert found.pixel_size == 0.12


def test_fields_are_cropped_to_what_both_have() -> None:
    found = score(picture(atoms(200)[:150]), picture(atoms(180)))
    assert found.shape == (150, 180)
    assert found.likeness.psnr is None


def test_gaussian_noise_has_the_variance_of_the_reference() -> None:
    reference = picture(0.5 * atoms() + 0.08 * noise((256, 256), 21, 1.0))
    clean = picture(atoms())
    noisy = with_equal_noise(clean, reference, np.random.default_rng(0))
    wanted, found = (math.sqrt(noise_variance(power(one))) for one in (reference, noisy))
    assert found == pytest.approx(wanted, rel=0.03)  # the noise of the window beside the peaks, 0.007 squared
    assert (noisy.data.min(), noisy.data.max()) == (0, 1)


def test_matched_greys_beat_every_other_amount_of_noise() -> None:
    clean = picture(atoms())
    reference = with_equal_noise(clean, picture(0.05 * noise((256, 256), 22)), np.random.default_rng(1))
    greys = reference.data.astype(np.float64)
    best = grey_divergence(greys, with_matched_greys(clean, reference, np.random.default_rng(2)).data.astype(float))
    for amount in (0.01, 0.1, 0.5):
        assert best < grey_divergence(greys, atoms() + amount * noise((256, 256), 2))


@pytest.mark.parametrize("data", [np.zeros((64, 64)), atoms(20)])
def test_what_cannot_be_compared_is_refused(data: FloatArray) -> None:
    with pytest.raises(ImageError, match=r"made: .*(too few|all pixels)"):
        score(picture(data), picture(atoms(64)))


def test_negative_seed_is_refused() -> None:
    with pytest.raises(UsageError, match="seed"):
        score(picture(atoms(64)), picture(atoms(64)), seed=-1)


def test_document_names_what_every_measure_compares() -> None:
    document = score(picture(atoms(128)), picture(atoms(128) + 0.1 * noise((128, 128), 23))).as_dict()
    assert set(COMPARES) == set(document["compares"])
    assert set(COMPARES) <= set(document)
    assert set(document["floor"]) == set(COMPARES) - {"psnr"}
    assert document["shape_rows_cols"] == [128, 128]
