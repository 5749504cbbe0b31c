// Continues one prompt of token ids greedily: generate MODEL HOST_BYTES NEW_TOKENS ID...
// MODEL is a Hugging Face folder or dummy:NAME; HOST_BYTES is the ceiling on RAM, 0 for the
// default. Prints the new ids on one line. Exit code 1 is an error of the engine, 2 a wrong command
// line.
#include <penstock/engine.h>

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <optional>
#include <vector>

namespace {

struct Job {
  penstock::EngineOptions options;
  penstock::Request request;
};

template <typename Number>
bool read_number(const char* text, Number& number) {
  const char* end = text + std::strlen(text);
  const auto [stop, error] = std::from_chars(text, end, number);
  return error == std::errc() && stop == end;
}

std::optional<Job> read_arguments(int count, char** arguments) {
  if (count < 5) return std::nullopt;
  Job job;
  job.options.model = arguments[1];
  if (!read_number(arguments[2], job.options.host_memory)) return std::nullopt;
  if (!read_number(arguments[3], job.request.sampling.max_tokens)) return std::nullopt;
  job.request.tokens.resize(count - 4);
  for (int i = 4; i < count; ++i) {
    if (!read_number(arguments[i], job.request.tokens[i - 4])) return std::nullopt;
  }
  job.request.sampling.temperature = 0;
  job.options.expected_rows = 1;
  job.options.max_prompt = job.options.mean_prompt = count - 4;
  job.options.max_new = job.options.mean_new = job.request.sampling.max_tokens;
  return job;
}

void generate(const Job& job) {
  penstock::Engine engine(job.options);
  engine.submit(job.request);
  while (!engine.idle()) {
    for (const penstock::Event& event : engine.step()) {
      for (const penstock::TokenChoice& choice : event.tokens) std::printf("%d ", choice.token);
      std::fflush(stdout);
    }
  }
  std::printf("\n");
}

}  // namespace

int main(int count, char** arguments) {
  const std::optional<Job> job = read_arguments(count, arguments);
  if (!job) {
    std::fprintf(stderr, "usage: %s MODEL HOST_BYTES NEW_TOKENS ID...\n", arguments[0]);
    return 2;
  }
  try {
    generate(*job);
  } catch (const penstock::ApiError& error) {
    std::fprintf(stderr, "error (%s): %s\n", error.code.c_str(), error.what());
    return 1;
  }
  return 0;
}
