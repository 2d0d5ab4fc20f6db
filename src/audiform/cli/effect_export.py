"""``audiform effect export``: a learned effect for another program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from audiform.checkpoints.effect_formats import EffectFormat
from audiform.cli.effect_knobs import parse_knobs
from audiform.cli.exit_codes import errors_as_exit_codes


def export(
    file: Annotated[Path, typer.Argument(help="The effect: any file that can be imported, too.")],
    to: Annotated[EffectFormat, typer.Option("--to", help="What to write.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="The file to write.")],
    block: Annotated[
        int | None,
        typer.Option(
            "--block", metavar="SAMPLES", help="torch, onnx: length of a block, 128 by default."
        ),
    ] = None,
    knobs: Annotated[
        list[str] | None,
        typer.Option(
            "--knob",
            metavar="NAME=VALUE",
            help="nam, guitarml, rtneural: fix the knobs here. May be repeated.",
        ),
    ] = None,
    input_dbu: Annotated[
        float | None, typer.Option("--input-dbu", help="nam: level of full scale at the input.")
    ] = None,
    output_dbu: Annotated[
        float | None, typer.Option("--output-dbu", help="nam: the same at the output.")
    ] = None,
) -> None:
    """Write a learned effect in a format of another program.

    [bold]torch[/]: .pt2 of torch.export; [bold]onnx[/]: a graph of one block with its state as
    inputs and outputs; [bold]nam[/]: Neural Amp Modeler; [bold]guitarml[/]: Proteus and others;
    [bold]rtneural[/]: RTNeural, AIDA-X.

    [dim]audiform effect export comp.safetensors --to onnx -o comp.onnx
    audiform effect export amp.safetensors --to nam -o amp.nam --knob gain=7[/]
    """
    from audiform.checkpoints import export_effect, read_any
    from audiform.errors import ConfigError

    with errors_as_exit_codes():
        if out.exists():
            raise ConfigError(f"{out} exists; delete it or choose another name")
        written = export_effect(
            read_any(file),
            out,
            to=to,
            block_samples=block,
            settings=parse_knobs(knobs),
            input_level_dbu=input_dbu,
            output_level_dbu=output_dbu,
        )
        print(written)
