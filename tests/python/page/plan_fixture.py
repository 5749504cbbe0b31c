"""A plan as the engine would tell it: OPT-30B on a T4, its sweep from a small simulation."""

from dataclasses import dataclass, field

GIB = 1 << 30
LINKS = {"h2d": 13.84e9, "d2h": 13.84e9, "disk_read": 2e9}
LAYER_BYTES, HIDDEN, CONTEXT = 12 * 7168 * 7168 * 2, 7168, 528
DECODE_FLOPS = 4.3e12


@dataclass
class Lanes:
    """In-order queues: a step begins when its lane is free and what it waits for is done."""

    free: dict = field(default_factory=dict)
    steps: list = field(default_factory=list)

    def run(self, lane, seconds, label, after, where):
        begin = max([self.free.get(lane, 0.0), *after])
        self.free[lane] = begin + seconds
        layer, batch = where
        step = {"lane": lane, "begin": begin, "end": begin + seconds, "label": label}
        self.steps.append({**step, "layer": layer, "batch": batch})
        return self.free[lane]


def simulate(layers, batches, rows):
    """A decoding sweep: weights stream two layers ahead, attention runs on the host, and the
    device takes the next micro-batch meanwhile."""
    lanes, hidden = Lanes(), [0.0] * batches
    weights, computed = {}, {-2: 0.0, -1: 0.0}
    for layer in range(layers):
        for ahead in range(layer, min(layer + 2, layers)):
            if ahead not in weights:
                weights[ahead] = _weights(lanes, ahead, computed[ahead - 2])
        waiting = []
        for batch in range(batches):
            where = (layer, batch)
            waiting.append(_attend(lanes, where, rows, [weights[layer], hidden[batch]]))
            if batch > 1:
                hidden[batch - 2] = _mlp(lanes, (layer, batch - 2), rows, waiting[batch - 2])
        for batch in range(max(0, batches - 2), batches):
            hidden[batch] = _mlp(lanes, (layer, batch), rows, waiting[batch])
        computed[layer] = max(hidden)
    lanes.run("compute", 0.02, "head", [max(hidden)], (-1, -1))
    return lanes.steps


def _weights(lanes, layer, free):
    where = (layer, -1)
    read = lanes.run("disk_read", 0.05 * LAYER_BYTES / 2e9, "weights read", [], where)
    return lanes.run("h2d", 0.8 * LAYER_BYTES / LINKS["h2d"], "weights copy", [read, free], where)


def _attend(lanes, where, rows, after):
    vector = rows * HIDDEN * 2
    done = lanes.run("compute", rows * LAYER_BYTES / 3 / DECODE_FLOPS, "qkv", after, where)
    down = lanes.run("d2h", 3 * vector / LINKS["d2h"] + 3e-5, "q, k, v down", [done], where)
    return lanes.run("host_compute", CONTEXT * 2 * vector / 80e9, "attention", [down], where)


def _mlp(lanes, where, rows, attended):
    up = rows * HIDDEN * 2 / LINKS["h2d"] + 3e-5
    back = lanes.run("h2d", up, "attention up", [attended], where)
    return lanes.run("compute", rows * LAYER_BYTES * 2 / 3 / DECODE_FLOPS, "mlp", [back], where)


def plan(layers=48, batches=4, rows=48):
    """The JSON of ``penstock plan`` with its prediction."""
    steps = simulate(layers, batches, rows)
    seconds = max(step["end"] for step in steps)
    sweeps, tokens = 34, rows * batches * 32
    lanes = {}
    for step in steps:
        lane = lanes.setdefault(step["lane"], {"seconds": 0.0, "bytes": 0})
        lane["seconds"] += (step["end"] - step["begin"]) * sweeps
    for name, rate in LINKS.items():
        lanes[name]["bytes"] = int(lanes[name]["seconds"] * rate)
    moved = {name: lanes[name]["bytes"] // sweeps for name in LINKS}
    phases = _phases(lanes, seconds * sweeps)
    total = layers * LAYER_BYTES
    return {
        **{"model": "dummy:opt-30b", "device": "cuda", "weights": "fp16", "kv": "fp16"},
        **{"parameters": 29_974_540_288, "version": "0.1.0", "compute": "fast", "warnings": []},
        "why": "h2d bound: with 192 sequences in flight a sweep carries 192 tokens",
        "policy": _policy(batches, rows),
        "memory": _memory(total),
        "prediction": {
            **{"tokens_per_second": tokens / (seconds * sweeps * 1.6), "sweeps": sweeps},
            **{"seconds": seconds * sweeps * 1.6, "lanes": lanes, "tensors": _tensors(total)},
            "peak_bytes": {"device": int(13.9 * GIB), "host": 121 * GIB, "disk": 3 * GIB},
            "budget_bytes": {"device": 15 * GIB, "host": 200 * GIB, "disk": 1000 * GIB},
            "bottleneck": _bottleneck(phases),
            "phases": phases,
            "sweep": {"seconds": seconds, "phase": "tokens", "steps": steps},
            "roofline": {
                "flops_per_sweep": 2.0 * rows * batches * total / 2,
                "peak_flops_per_second": 21.24e12,
                "links": [
                    {"name": n, "bytes_per_second": r, "bytes_per_sweep": moved[n]}
                    for n, r in LINKS.items()
                ],
            },
            "what_if": _changes(tokens / (seconds * sweeps * 1.6)),
        },
    }


def _phases(lanes, seconds):
    """Tokens are generated in the sweeps that were simulated; before them prompts are read."""
    tokens = {name: lane["seconds"] for name, lane in lanes.items()}
    prompts = {"compute": 0.55 * seconds, "h2d": 0.2 * seconds}
    for name, spent in prompts.items():
        lanes[name]["seconds"] += spent
    return [
        {"name": "prompts", "sweeps": 2, "seconds": 0.6 * seconds, "lanes": prompts},
        {"name": "tokens", "sweeps": 32, "seconds": seconds, "lanes": tokens},
    ]


def _bottleneck(phases):
    sentences = []
    for phase in phases:
        name = max(phase["lanes"], key=lambda lane: phase["lanes"][lane])
        share = phase["lanes"][name] / phase["seconds"]
        sentences.append(f"{phase['name']}: {name} decides, busy for {share:.0%}")
    return "; ".join(sentences)


def _policy(batches, rows):
    return {
        "weight_share": {"device": 0.2, "host": 0.75, "disk": 0.05},
        "kv_share": {"device": 0.0, "host": 1.0, "disk": 0.0},
        "activation_share": {"device": 1.0, "host": 0.0, "disk": 0.0},
        **{"micro_batch": rows, "micro_batches": batches, "prefill_chunk": 64, "pace": 0},
        **{"share_prefix": True, "admission": "continuous", "lookahead": 2},
        **{"host_attention": True, "threads": 32, "max_sequences": rows * batches},
    }


def _memory(total):
    gib = {
        "device": {"weights": 0.2 * total / GIB, "ring": 1.1, "hidden": 0.4, "work": 0.6},
        "host": {"weights": 0.75 * total / GIB, "kv": 66.2, "staging": 4.6, "io": 0.25},
        "disk": {"weights": 0.05 * total / GIB},
    }
    gib["device"].update({"head": 0.7, "logits": 0.04, "vectors": 0.01, "kernel scratch": 0.02})
    gib["host"].update({"gather": 0.1, "tokenizer": 0.03, "engine": 0.01})
    return [
        {"tier": tier, "label": label, "bytes": int(size * GIB)}
        for tier, labels in gib.items()
        for label, size in labels.items()
    ]


def _tensors(total):
    part = total / 12
    shares = (0.2, 0.75, 0.05)
    sizes = {"q": 1, "k": 1, "v": 1, "o": 1, "fc1": 4, "fc2": 4}
    tensors = [
        {"name": n, "bytes": {t: int(size * part * s) for t, s in _by_tier(shares)}}
        for n, size in sizes.items()
    ]
    embed = 50272 * HIDDEN * 2
    tensors.append({"name": "embedding", "bytes": {"device": embed, "host": 0, "disk": 0}})
    tensors.append({"name": "norms", "bytes": {"device": 2_752_512, "host": 0, "disk": 0}})
    tensors.append({"name": "kv", "bytes": {"device": 0, "host": int(66.2 * GIB), "disk": 0}})
    active = {"device": int(0.4 * GIB), "host": 0, "disk": 0}
    return [*tensors, {"name": "activations", "bytes": active}]


def _by_tier(shares):
    return zip(("device", "host", "disk"), shares, strict=True)


def _changes(rate):
    changes = {
        "one more GiB of device memory": 1.021,
        "one more GiB of host memory": 1.0,
        "int4 weights": 2.37,
        "int8 KV cache": 1.04,
        "twice the PCIe rate": 1.52,
        "no host attention": 0.61,
    }
    return [{"change": c, "tokens_per_second": rate * by} for c, by in changes.items()]


def report(of):
    """The report of a run that went nearly as planned."""
    predicted = of["prediction"]
    lanes = {
        name: {"busy_seconds": lane["seconds"] * by, "bytes": lane["bytes"], "tasks": 9}
        for (name, lane), by in zip(
            predicted["lanes"].items(), (1.04, 0.98, 1.22, 0.9, 1.0), strict=False
        )
    }
    peaks = {tier: int(count * 0.99) for tier, count in predicted["peak_bytes"].items()}
    seconds = predicted["seconds"] * 1.08
    return {
        **{"seconds": seconds, "tokens_per_second": predicted["tokens_per_second"] / 1.08},
        "engine": {name: of[name] for name in ("model", "device", "weights", "kv")},
        "stats": {"sweeps": predicted["sweeps"], "lanes": lanes, "peak_bytes": peaks},
    }
