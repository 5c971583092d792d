"""The global directions of a run, as `pullback discover` makes them, out of bases that all figures share."""

from __future__ import annotations

from dataclasses import replace

from pullback.analyses.context import TOL, Context
from pullback.analyses.moves import edit_time, quiet
from pullback.api.discovery import Discovery
from pullback.api.settings import Settings
from pullback.directions import global_directions, with_agreement
from pullback.directions.global_ import Match


def discovered(context: Context, *, match: Match = "nearest") -> Discovery:
    """Directions of the samples of the run at the t of edits, with their agreement on held-out samples."""
    size, t_fraction = context.size, edit_time(context.size)
    f = context.feature_map(t_fraction)
    latents = context.latents(t_fraction, size.num_samples)
    held_out = context.latents(t_fraction, size.num_held_out, held_out=True)
    own, others = context.bases(f, latents), context.bases(f, held_out)
    with quiet():  # a mean subspace of samples that share little says so; its agreement tells as much
        made = global_directions(own, rank=size.rank, match=match)
    found = with_agreement(made, others, generator=context.generator())
    distance = context.distance(f)
    details = {"distance": distance, "seed": context.seed, "t_fraction": float(t_fraction)}
    return Discovery(
        directions=tuple(replace(each, origin={**each.origin, **details}) for each in found),
        bases=tuple(own),
        held_out_bases=tuple(others),
        latents=latents,
        held_out=held_out,
        settings=Settings(
            num_samples=size.num_samples,
            num_held_out=size.num_held_out,
            rank=size.rank,
            t_fraction=t_fraction,
            seed=context.seed,
            num_steps=size.num_steps,
            tol=TOL,
        ),
        origin=f.origin,
        distance=distance,
    )
