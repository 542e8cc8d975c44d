"""What the page says about its own words, and what no result can know."""

from __future__ import annotations

DEFINITIONS = (
    ("Slip D", "translation of the upper layer relative to the lower one, in the lower layer's crystal frame, as "
     "Cartesian x, y in Å and as D = Da a + Db b."),
    ("Crystal frame", "a along +x, b at the angle γ counter-clockwise from it."),
    ("Image frame", "x to the right, y up, origin at the image's centre; column = (columns − 1)/2 + x/pixel size, "
     "row = (rows − 1)/2 − y/pixel size."),
    ("From crystal to image", "r = R(rotation) · M · r_crystal + origin, M = diag(1, −1) if it is seen mirrored."),
    ("Twist θ", "rotation of the upper layer relative to the lower one, counter-clockwise in the crystal frame; for "
     "2H layers 0° is parallel (R), 60° antiparallel (H)."),
    ("Moiré", "two lattices that do not match have a registry that repeats with the vectors of the moiré; AA is where "
     "their atoms lie above each other."),
    ("Local slip D(r)", "the upper layer's shift against the lower one at a place r, in the lower layer's crystal "
     "frame, continuous from window to window; the stacking is the same after each vector of the upper lattice."),
    ("Strain", "of the upper layer's lattice relative to the lower one's, beyond what their materials imply: "
     "components xx, yy, xy in the lower layer's crystal frame."),
    ("Undecided", "twists that explain the image nearly as well; the odds are those of the other twist against the "
     "one stated, by how much worse it fits."),
    ("Equivalent slips", "stackings that give the same projected image: identical layers can be exchanged (D and −D), "
     "lattice vectors can be added, and the layer's own symmetry acts on D."),
    ("Error", "1σ from the Fisher information of the fit, widened where the residual is larger than the noise; of a "
     "network's slips, what it says. The single number is the square root of the covariance's trace. Ellipses hold "
     "95 %."),
    ("χ²", "squared misfit of the lattice harmonics over their noise, per degree of freedom; 1 for a perfect model."),
    ("Window status", "ok; edge (the layers fill only part of it); unresolved (too noisy); vacuum (no lattice); "
     "untrusted (the model misses more than the noise, or the network does not know such a window)."),
)  # fmt: skip

LIMITS = (
    "Which layer is on top shows only through the focus; the layers' distance is the bulk crystal's and not measured.",
    "The model is linear incoherent imaging of perfect layers. Holes, dirt and strong aberrations raise χ².",
    "Slips vary within a window that lies across a boundary; such windows are marked, not averaged.",
)
