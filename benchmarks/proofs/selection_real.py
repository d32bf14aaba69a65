"""Proof: a selection over real OpenSSH devices, real runtimes and a real network, against the figures of the published method.

With the photographs and the network of the shared data where they are, else with the example's drawn ones (then L is not compared with the published figures).
Run: make proof-selection-real
"""

from __future__ import annotations

from typing import Any

from benchmarks.proofs.figures import Figures
from benchmarks.proofs.fleet import SHARED, Fleet, fleet

THREE_TERMS = "weights: {transfer: 0}\nlimits: {accuracy_drop: 2%}\n"
TFLITE, LITERT = "tflite-runtime", "ai-edge-litert"


def main() -> None:
    """Measure, print, compare."""
    shared = SHARED.is_dir()
    figures = Figures()
    with fleet([(LITERT, TFLITE), (TFLITE,)]) as there:
        one = ("--limit", "sorter-1")
        old = ("--limit", "sorter-2")
        few = there.playbook(
            "few", THREE_TERMS + "threads: 1\nschemes: [float32, float16, int8]", shared=shared
        )
        more = there.playbook(
            "more",
            THREE_TERMS + "threads: 1\nschemes: [float32, float16, int8, dynamic_range]",
            shared=shared,
        )
        every = there.playbook("every", THREE_TERMS + "threads: 1", shared=shared)
        threads = there.playbook("threads", THREE_TERMS + "threads: [1, all]", shared=shared)
        _adds_one(there, few, more, one, figures)
        single = there.select(every, *one)
        _show(there, every, single, "one thread, both runtimes")
        _runtimes_differ(single, figures)
        again = there.select(every, *one, "--fresh")
        _wall_time(again, there.seconds, figures)
        wide = there.select(threads, *one)
        _show(there, threads, wide, "threads chosen, both runtimes")
        alone = there.select(every, *old)
        _show(there, every, alone, "tflite-runtime alone")
        if shared:
            figures.add("L of the winner, one thread", _total(single), "<=", -1.2)
            figures.add("L of the winner, threads chosen", _total(wide), "<=", -1.4)
            figures.add("L of the winner under tflite-runtime 2.14 alone", _total(alone), "<=", -0.7)
        for name, selection in (("one thread", single), ("threads chosen", wide), ("tflite-runtime", alone)):
            worst = max(
                one["quality"]["drop_bound"]
                for one in selection["estimates"]
                if one["scheme"] == selection["winner"]["scheme"] and _chosen(selection, one)
            )
            figures.add(f"loss of accuracy of the winner, 95 % upper bound ({name})", worst, "<=", 0.02)
    figures.finish()


def _chosen(selection: Any, one: Any) -> bool:
    setting = selection["settings"][one["host"]]
    return bool((setting["runtime"], setting["threads"]) == (one["runtime"], one["threads"]))


def _total(selection: Any) -> float:
    """Return L of the winner."""
    return float(
        next(c["L"]["value"] for c in selection["candidates"] if c["scheme"] == selection["winner"]["scheme"])
    )


def _show(there: Fleet, playbook: str, selection: Any, title: str) -> None:
    print(
        f"\n{title} ({playbook}, {there.seconds:.0f} s): {selection['answer']} {selection['winner']['scheme']}"
    )
    print(there.run("replay", selection["id"]))


def _adds_one(there: Fleet, few: str, more: str, one: tuple[str, ...], figures: Figures) -> None:
    """A second run that only adds a scheme measures only that scheme and the baseline."""
    before = there.select(few, *one)
    after = there.select(more, *one)
    (old,), (new,) = before["raw"], after["raw"]
    known = {block["number"] for block in old["blocks"]}
    fresh = {
        turn["scheme"] for block in new["blocks"] if block["number"] not in known for turn in block["turns"]
    }
    figures.holds(
        "measured by a second run that adds dynamic_range",
        met="dynamic_range" in fresh and fresh <= {"float32", "dynamic_range"},
        found=", ".join(sorted(fresh)),
        goal="dynamic_range and float32 only",
    )


def _runtimes_differ(selection: Any, figures: Figures) -> None:
    """The winner differs between the two runtimes in one report, and the operators that cause it are named."""
    best: dict[str, Any] = {}
    feasible = {c["scheme"] for c in selection["candidates"] if c["status"] == "feasible"}
    for one in selection["estimates"]:
        package = one["runtime"].split()[0]
        if one["scheme"] in feasible and (
            package not in best or one["L"]["value"] < best[package]["L"]["value"]
        ):
            best[package] = one
    said = [
        one["why_slow"]
        for one in selection["estimates"]
        if one["runtime"].startswith(TFLITE) and one["scheme"] == best[LITERT]["scheme"] and one["why_slow"]
    ]
    for sentence in said:
        print(sentence)
    names = " and ".join(f"{one['scheme']} under {package}" for package, one in sorted(best.items()))
    figures.holds(
        "winners by runtime",
        met=best[LITERT]["scheme"] != best[TFLITE]["scheme"],
        found=names,
        goal="two different ones",
    )
    named = bool(said) and any(
        word in said[0] for word in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
    )
    figures.holds("operators that cause it", met=named, found=said[0] if said else "none named", goal="named")


def _wall_time(selection: Any, seconds: float, figures: Figures) -> None:
    """Wall time of a whole `ota select` against what the busiest device spent on inferences and loading."""
    busiest = 0.0
    for host in selection["raw"]:
        spent = host["examined_s"]
        for block in host["blocks"]:
            for turn in block["turns"]:
                middle = (
                    sorted(turn["latencies_ns"])[len(turn["latencies_ns"]) // 2]
                    if turn["latencies_ns"]
                    else 0
                )
                spent += (
                    turn["load_ns"] + turn["cold_ns"] + turn["warmup"] * middle + sum(turn["latencies_ns"])
                )
        busiest = max(busiest, spent / 1e9)
    print(f"\nota select took {seconds:.1f} s, the device spent {busiest:.1f} s on inferences and loading")
    figures.add("wall time over inference and load time", seconds / busiest, "<=", 1.3)


if __name__ == "__main__":
    main()
