// A tiny model in a folder of its own, which vanishes with it, and options for an engine on one
// thread that may use every tier.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "penstock/engine.h"
#include "support/temp_folder.h"
#include "support/tiny_model.h"

namespace penstock::testing {

struct TinyEngine {
  TempFolder folder;
  EngineOptions options;

  explicit TinyEngine(const std::string& config) {
    options.model = write_tiny_model(folder.path(), config);
    options.threads = 1;
    options.host_memory = uint64_t{96} << 20;
    options.device_memory = {uint64_t{64} << 20};
    options.disk = ::testing::TempDir();
    options.disk_memory = uint64_t{64} << 20;
  }
};

// Without tokens yet: so many are generated, the most likely ones.
inline Request greedy_request(int max_tokens) {
  Request request;
  request.sampling.max_tokens = max_tokens;
  request.sampling.temperature = 0;
  request.sampling.ignore_eos = true;
  return request;
}

}  // namespace penstock::testing
