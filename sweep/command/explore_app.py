"""The page of `sweep explore`, as marimo runs it: controls, and what `explored` makes of their values."""

# mypy: disable-error-code="no-untyped-def"

import marimo

app = marimo.App(width="full", app_title="sweep explore")

with app.setup:
    import html
    import json
    from dataclasses import dataclass
    from typing import Any

    import marimo as mo

    from sweep.command import explored
    from sweep.command.explored import Setting

    @dataclass(frozen=True)
    class Picture:
        """A Vega-Lite specification, which the page draws."""

        specification: dict

        def _mime_(self) -> tuple[str, str]:
            return "application/vnd.vegalite.v6+json", json.dumps(self.specification)


@app.cell
def _():
    request: Any = mo.app_meta().request
    config_dir = request.meta["config_dir"]
    known = explored.machines(config_dir)
    first = Setting.machine if Setting.machine in known else next(iter(known))
    machine = mo.ui.dropdown(list(known), value=first, label="machine", allow_select_none=False)
    workload = mo.ui.radio(["kernel build", "flush events at a rate"], value="kernel build", inline=True)
    policies = mo.ui.multiselect(
        explored.policies(), value=explored.FIRST, label=f"policies, up to {explored.MOST_POLICIES}",
        max_selections=explored.MOST_POLICIES,
    )  # fmt: skip
    return config_dir, known, machine, policies, workload


@app.cell
def _(known, machine):
    own = explored.size(known[machine.value], "cores")
    cores = mo.ui.slider(
        steps=explored.cpu_counts(known[machine.value]), value=own, label="CPUs", show_value=True, debounce=True
    )
    return (cores,)


@app.cell
def _(cores):
    jobs = mo.ui.number(1, 2 * cores.value, step=1, value=cores.value, label="make -j", debounce=True)
    rate = mo.ui.slider(steps=explored.RATES, value=5000, label="events a second", show_value=True, debounce=True)
    senders = mo.ui.number(1, cores.value, step=1, value=cores.value, label="made by CPUs", debounce=True)
    return senders, jobs, rate


@app.cell
def _(cores, senders, jobs, known, machine, policies, rate, workload):
    load = [jobs] if workload.value == "kernel build" else [rate, senders]
    sockets = mo.md(f"in {explored.sockets(known[machine.value])}")
    mo.vstack([
        mo.md("## What would this TLB-flush policy cost on that machine, and what does it leave exposed?"),
        mo.hstack([machine, cores, sockets], justify="start", align="center", wrap=True, gap=1),
        mo.hstack([workload, *load], justify="start", align="center", wrap=True, gap=1),
        policies,
    ])  # fmt: skip
    return


@app.cell
def _(config_dir, cores, senders, jobs, machine, policies, rate, workload):
    build = workload.value == "kernel build"
    setting = Setting(
        machine.value, cores.value, int(jobs.value) if build else None, rate.value, int(senders.value), config_dir
    )
    table, said = explored.points(setting, policies.value)
    drawn = explored.picture(table, setting)
    shown = mo.md("No policy here has both a cost and a stale window.") if drawn is None else Picture(drawn)
    text = "".join(f"<p style='margin: 0 0 0.5rem'>{html.escape(line)}</p>" for line in said)
    listed = explored.listed(table, setting).to_html(index=False, border=0)
    style = "<style>.dataframe td { white-space: nowrap }</style>"
    numbers = f"{style}<div style='text-align: right; font-size: 0.8rem'>{listed}</div>"
    about = html.escape(" ".join(explored.sentences(table, setting)))
    again = html.escape(explored.command(setting, policies.value))
    half = {"flex": "1 1 28rem", "min-width": "0", "max-width": "100%", "overflow-x": "auto"}
    mo.vstack([
        mo.hstack([
            mo.vstack([shown]).style(half),
            mo.vstack([mo.Html(numbers), mo.Html(text)]).style(half),
        ], wrap=True, gap=1),
        mo.Html(
            f"<div style='overflow-wrap: anywhere'><p>{about}</p>"
            f"<p>With the usual precision: <code>{again}</code></p></div>"
        ),
    ])  # fmt: skip
    return


if __name__ == "__main__":
    app.run()
