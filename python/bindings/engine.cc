// Binds the public Engine and its plain structs, names as in penstock/engine.h. Calls that work
// release the GIL; an ApiError becomes penstock._core.Error with attributes code, file, field,
// found and allowed.
#include "penstock/engine.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/function.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

namespace nb = nanobind;
using nb::literals::operator""_a;

namespace penstock {

namespace {

void register_error(nb::module_& m) {
  nb::object type =
      nb::steal(PyErr_NewException("penstock._core.Error", PyExc_RuntimeError, nullptr));
  m.attr("Error") = type;
  nb::register_exception_translator(
      [](const std::exception_ptr& pointer, void* payload) {
        try {
          std::rethrow_exception(pointer);
        } catch (const ApiError& error) {
          nb::object value = nb::handle(static_cast<PyObject*>(payload))(error.what());
          value.attr("code") = error.code;
          value.attr("file") = error.file;
          value.attr("field") = error.field;
          value.attr("found") = error.found;
          value.attr("allowed") = error.allowed;
          PyErr_SetObject(static_cast<PyObject*>(payload), value.ptr());
        }
      },
      type.ptr());
}

void register_options(nb::module_& m) {
  nb::class_<EngineOptions>(m, "EngineOptions", "How an engine is opened; sizes are bytes.")
      .def(nb::init<>())
      .def_rw("model", &EngineOptions::model)
      .def_rw("device", &EngineOptions::device)
      .def_rw("host_memory", &EngineOptions::host_memory)
      .def_rw("device_memory", &EngineOptions::device_memory)
      .def_rw("disk", &EngineOptions::disk)
      .def_rw("disk_memory", &EngineOptions::disk_memory)
      .def_rw("weights", &EngineOptions::weights)
      .def_rw("kv", &EngineOptions::kv)
      .def_rw("compute", &EngineOptions::compute)
      .def_rw("invariant", &EngineOptions::invariant)
      .def_rw("policy", &EngineOptions::policy)
      .def_rw("machine", &EngineOptions::machine)
      .def_rw("throttle", &EngineOptions::throttle)
      .def_rw("cache", &EngineOptions::cache)
      .def_rw("cublaslt", &EngineOptions::cublaslt)
      .def_rw("threads", &EngineOptions::threads)
      .def_rw("pin_threads", &EngineOptions::pin_threads)
      .def_rw("max_context", &EngineOptions::max_context)
      .def_rw("reserved_host_memory", &EngineOptions::reserved_host_memory)
      .def_rw("expected_rows", &EngineOptions::expected_rows)
      .def_rw("mean_prompt", &EngineOptions::mean_prompt)
      .def_rw("max_prompt", &EngineOptions::max_prompt)
      .def_rw("mean_new", &EngineOptions::mean_new)
      .def_rw("max_new", &EngineOptions::max_new)
      .def_rw("delay_seed", &EngineOptions::delay_seed)
      .def_rw("dummy_seed", &EngineOptions::dummy_seed);
}

void register_requests(nb::module_& m) {
  nb::class_<Sampling>(m, "Sampling")
      .def(nb::init<>())
      .def_rw("max_tokens", &Sampling::max_tokens)
      .def_rw("min_tokens", &Sampling::min_tokens)
      .def_rw("temperature", &Sampling::temperature)
      .def_rw("top_k", &Sampling::top_k)
      .def_rw("top_p", &Sampling::top_p)
      .def_rw("min_p", &Sampling::min_p)
      .def_rw("presence_penalty", &Sampling::presence_penalty)
      .def_rw("frequency_penalty", &Sampling::frequency_penalty)
      .def_rw("repetition_penalty", &Sampling::repetition_penalty)
      .def_rw("seed", &Sampling::seed)
      .def_rw("stop_token_ids", &Sampling::stop_token_ids)
      .def_rw("ignore_eos", &Sampling::ignore_eos)
      .def_rw("logprobs", &Sampling::logprobs)
      .def_rw("logit_bias", &Sampling::logit_bias)
      .def_rw("allowed_token_ids", &Sampling::allowed_token_ids);
  nb::class_<Request>(m, "Request")
      .def(nb::init<>())
      .def_rw("tokens", &Request::tokens)
      .def_rw("sampling", &Request::sampling)
      .def_rw("score", &Request::score)
      .def_rw("expected_new", &Request::expected_new)
      .def_rw("prompt_logprobs", &Request::prompt_logprobs);
}

void register_results(nb::module_& m) {
  nb::class_<TokenChoice>(m, "TokenChoice")
      .def_ro("token", &TokenChoice::token)
      .def_ro("logprob", &TokenChoice::logprob)
      .def_ro("top", &TokenChoice::top);
  nb::class_<Event>(m, "Event")
      .def_ro("request", &Event::request)
      .def_ro("tokens", &Event::tokens)
      .def_ro("prompt_logprobs", &Event::prompt_logprobs)
      .def_ro("finished", &Event::finished)
      .def_ro("finish_reason", &Event::finish_reason);
  nb::class_<LaneReport>(m, "LaneReport")
      .def_ro("busy_seconds", &LaneReport::busy_seconds)
      .def_ro("bytes", &LaneReport::bytes)
      .def_ro("tasks", &LaneReport::tasks);
  nb::class_<Stats>(m, "Stats")
      .def_ro("seconds", &Stats::seconds)
      .def_ro("busiest_seconds", &Stats::busiest_seconds)
      .def_ro("sweeps", &Stats::sweeps)
      .def_ro("prompt_tokens", &Stats::prompt_tokens)
      .def_ro("shared_tokens", &Stats::shared_tokens)
      .def_ro("generated_tokens", &Stats::generated_tokens)
      .def_ro("lanes", &Stats::lanes)
      .def_ro("predicted_bytes", &Stats::predicted_bytes)
      .def_ro("peak_bytes", &Stats::peak_bytes)
      .def_ro("budget_bytes", &Stats::budget_bytes)
      .def_ro("host_items", &Stats::host_items)
      .def_ro("active", &Stats::active)
      .def_ro("waiting", &Stats::waiting);
}

// float32 array (tokens, vocab) that owns its memory.
nb::ndarray<nb::numpy, float, nb::ndim<2>> logits_array(Engine& engine,
                                                        const std::vector<int32_t>& tokens) {
  auto* values = new std::vector<float>;
  nb::capsule owner(values, [](void* p) noexcept { delete static_cast<std::vector<float>*>(p); });
  {
    nb::gil_scoped_release release;
    *values = engine.logits(tokens);
  }
  const size_t shape[2] = {tokens.size(), static_cast<size_t>(engine.vocab())};
  return {values->data(), 2, shape, owner};
}

}  // namespace

void register_engine(nb::module_& m) {
  register_error(m);
  register_options(m);
  register_requests(m);
  register_results(m);
  using Release = nb::call_guard<nb::gil_scoped_release>;
  nb::class_<Engine>(m, "Engine", "Generates from and scores token ids; one thread at a time.")
      .def(nb::init<const EngineOptions&, const PackProgress&>(), "options"_a,
           "packing"_a.none() = nb::none(), Release(),
           "Opens a model; `packing(done_bytes, total_bytes)` is called while it is quantised.")
      .def("submit", &Engine::submit, "request"_a, Release(),
           "Queues a request and returns its number; raises Error(invalid_argument).")
      .def("step", &Engine::step, Release(),
           "One sweep over the layers for everything in flight; returns what is new.")
      .def("idle", &Engine::idle)
      .def("cancel", &Engine::cancel, "request"_a, Release())
      .def("logits", &logits_array, "tokens"_a,
           "Logits of every position: float32 array (tokens, vocab). Only when idle.")
      .def("stats", &Engine::stats)
      .def("predict", &Engine::predict, "rows"_a, "most_rows"_a = 0, Release(),
           "What these rows will take, as JSON text, if each ends where it is said to.")
      .def("describe", &Engine::describe, "Model, formats, policy and memory as JSON text.")
      .def("vocab", &Engine::vocab)
      .def("max_context", &Engine::max_context)
      .def("record_trace", &Engine::record_trace, "on"_a)
      .def("take_trace", &Engine::take_trace, "Chrome / Perfetto JSON of the lanes' work.");
  m.def("plan", &plan, "options"_a, "rows"_a = std::vector<RowTokens>{},
        nb::call_guard<nb::gil_scoped_release>(),
        "What an engine with these options would do, from config.json alone; JSON text.");
  m.def("dummy_names", &dummy_names, "Names accepted by dummy:NAME.");
  m.def("dummy_config", &dummy_config, "name"_a, "config.json text of a named shape.");
  m.def("dummy_weights", &dummy_weights, "name"_a,
        "(name, shape) of every tensor of a checkpoint of that shape.");
}

}  // namespace penstock
