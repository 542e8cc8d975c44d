"""`picostem style`: how an experiment's images look, learned from a few of them and put on simulated ones."""

from __future__ import annotations

import typer

from picostem.cli import style_augment, style_score, style_select, style_train, style_transfer

app = typer.Typer(help="Learn how a microscope's images look, and make labelled images that look so.")
app.command("select")(style_select.select)
app.command("augment")(style_augment.augment)
app.command("train")(style_train.train)
app.command("transfer")(style_transfer.transfer)
app.command("score")(style_score.score)
