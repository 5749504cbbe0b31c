"""A pretended native module: the interface of penstock._core with a model that is a hash.

The next token is a hash of all tokens before it (greedy), or of those, the row's seed and the
position (sampled), so that a row's result depends on that row alone, as with the real engine.
"""

import hashlib
import json
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

VOCAB, CONTEXT, EOS = 4096, 512, 2
FIRST_TEXT_TOKEN = 4
SEQUENCES = 8


class Error(RuntimeError):
    def __init__(self, code, message, field=""):
        super().__init__(message)
        self.code, self.file, self.field, self.found, self.allowed = code, "", field, "", ""


class EngineOptions(SimpleNamespace):
    pass


class Request:
    def __init__(self):
        self.tokens, self.sampling = [], Sampling()
        self.score = self.prompt_logprobs = self.all_logits = False


class Sampling:
    def __init__(self):
        self.max_tokens, self.min_tokens, self.temperature, self.seed = 16, 0, 1.0, 0
        self.top_k, self.top_p, self.min_p = 0, 1.0, 0.0
        self.presence_penalty = self.frequency_penalty = 0.0
        self.repetition_penalty, self.ignore_eos, self.logprobs = 1.0, False, -1
        self.stop_token_ids, self.logit_bias, self.allowed_token_ids = [], [], []


def _hash(*parts):
    text = json.dumps(parts).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


class Engine:
    """The policy's JSON has knobs: `seconds_per_step` slows it down, `fail_after` steps raise,
    with `predicted_seconds` it predicts that. The device fails in step `fails_at` as often as
    the number in the file `device_fails` says, and whenever a prompt holds the token `fatal_token`;
    with `aborts` the process dies instead, of the signal that `signal` names.
    """

    def __init__(self, options, packing=None):
        self.options = options
        knobs = json.loads(options.policy) if options.policy else {}
        self._sleep = knobs.get("seconds_per_step", 0)
        self._fail_after = knobs.get("fail_after", -1)
        self._eos_every = knobs.get("eos_every", 23)
        for done in knobs.get("packed", []) if packing else []:
            packing(done, knobs["packed"][-1])
        if "predicted_seconds" in knobs:
            answer = json.dumps({"seconds": knobs["predicted_seconds"]})
            self.predict = lambda rows, most_rows=0: answer
        self._fails, self._fails_at = knobs.get("device_fails", ""), knobs.get("fails_at", 5)
        self._fatal, self._aborts = knobs.get("fatal_token", -1), knobs.get("aborts", False)
        self._signal = signal.Signals[knobs.get("signal", "SIGABRT")]
        self._next, self._steps, self._generated, self._prompts = 1, 0, 0, 0
        self._waiting, self._active = [], {}
        if 0 < options.host_memory < 1 << 20:
            raise Error("budget", "host_memory: the smallest that works is 1048576", "host_memory")

    def submit(self, request):
        if any(not 0 <= t < VOCAB for t in request.tokens):
            raise Error("invalid_argument", f"token id outside the vocabulary of {VOCAB}", "tokens")
        number, self._next = self._next, self._next + 1
        self._waiting.append((number, request))
        return number

    def step(self):
        self._steps += 1
        if self._steps == self._fail_after:
            raise Error("io", "the fake disk failed")
        time.sleep(self._sleep)
        while self._waiting and len(self._active) < SEQUENCES:
            number, request = self._waiting.pop(0)
            self._active[number] = (request, list(request.tokens), [])
            self._prompts += len(request.tokens)
        self._fail_as_asked()
        events = [self._advance(number) for number in list(self._active)]
        for event in events:
            if event.finished:
                del self._active[event.request]
        return events

    def _fail_as_asked(self):
        fatal = any(self._fatal in request.tokens for request, _, _ in self._active.values())
        if self._fails and self._steps == self._fails_at:
            file = Path(self._fails)
            left = int(file.read_text())
            file.write_text(str(max(0, left - 1)))
            fatal = fatal or left > 0
        if fatal and self._aborts:
            os.kill(os.getpid(), self._signal)
        if fatal:
            raise Error("device", "the fake device failed")

    def _advance(self, number):
        request, tokens, new = self._active[number]
        event = SimpleNamespace(
            request=number, tokens=[], prompt_logprobs=[], finished=False, finish_reason=""
        )
        if not new and (request.score or request.prompt_logprobs):
            event.prompt_logprobs = [0.0] + [
                -(_hash(tokens[: i + 1]) % 1000) / 100 for i in range(1, len(tokens))
            ]
        if request.score:
            event.finished, event.finish_reason = True, "score"
            return event
        event.tokens = [self._choose(request.sampling, tokens, len(new))]
        token = event.tokens[0].token
        tokens.append(token)
        new.append(token)
        self._generated += 1
        ends = set(request.sampling.stop_token_ids) | (
            set() if request.sampling.ignore_eos else {EOS}
        )
        if token in ends and len(new) > request.sampling.min_tokens:
            event.finished, event.finish_reason = True, "stop"
        elif len(new) >= request.sampling.max_tokens:
            event.finished, event.finish_reason = True, "length"
        return event

    def _choose(self, sampling, tokens, position):
        key = [tokens] if sampling.temperature == 0 else [tokens, sampling.seed, position]
        number = _hash(key)
        allowed = sampling.allowed_token_ids
        token = (
            allowed[number % len(allowed)]
            if allowed
            else FIRST_TEXT_TOKEN + number % (VOCAB - FIRST_TEXT_TOKEN)
        )
        if not allowed and number // 7 % self._eos_every == 0:
            token = EOS
        top = [(token, -0.5), (FIRST_TEXT_TOKEN, -1.5)][: max(0, sampling.logprobs)]
        logprob = -0.5 if sampling.logprobs >= 0 else 0.0
        return SimpleNamespace(token=token, logprob=logprob, top=top)

    def idle(self):
        return not self._waiting and not self._active

    def cancel(self, request):
        self._active.pop(request, None)
        self._waiting = [(n, r) for n, r in self._waiting if n != request]

    def logits(self, tokens):
        return [
            [float(_hash(tokens[: i + 1], v) % 100) for v in range(4)] for i in range(len(tokens))
        ]

    def stats(self):
        lane = SimpleNamespace(busy_seconds=0.5, bytes=1 << 20, tasks=self._steps)
        return SimpleNamespace(
            seconds=1.0,
            busiest_seconds=0.9,
            sweeps=self._steps,
            prompt_tokens=self._prompts,
            shared_tokens=0,
            generated_tokens=self._generated,
            active=len(self._active),
            waiting=len(self._waiting),
            lanes={"compute": lane, "disk_read": lane},
            predicted_bytes={"disk_read": 1 << 20},
            peak_bytes={"host": 1 << 19},
            budget_bytes={"host": 1 << 20},
            host_items={"weights": 1 << 19},
        )

    def describe(self):
        return json.dumps(
            {"model": self.options.model, "isa": "fake", "weights": self.options.weights}
        )

    def vocab(self):
        return VOCAB

    def max_context(self):
        return self.options.max_context or CONTEXT

    def record_trace(self, on):
        self._trace = on

    def take_trace(self):
        return json.dumps({"traceEvents": []})


def plan(options):
    return Engine(options).describe()


def version():
    return "0.0.0"


def dummy_names():
    return ["fake"]


def dummy_config(name):
    return json.dumps({"model_type": "fake", "name": name})
