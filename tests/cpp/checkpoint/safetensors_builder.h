// Makes safetensors files, right ones and wrong ones, for tests.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace penstock {

inline std::string length_prefix(uint64_t length) {
  std::string text(8, '\0');
  for (int i = 0; i < 8; ++i) text[i] = static_cast<char>(length >> (8 * i));
  return text;
}

inline std::string random_data(size_t bytes, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string data(bytes, '\0');
  for (char& c : data) c = static_cast<char>(random());
  return data;
}

// A file from its header text, with `data_bytes` random bytes behind it.
inline std::string safetensors_file(const std::string& header, size_t data_bytes) {
  return length_prefix(header.size()) + header +
         random_data(data_bytes, header.size() + data_bytes);
}

// One entry of a header: "name":{...}.
inline std::string entry(const std::string& name, const std::string& dtype,
                         const std::string& shape, uint64_t begin, uint64_t end) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(end) + "]}";
}

// A file with one-dimensional F32 tensors of the given names, four values each.
inline std::string simple_file(const std::vector<std::string>& names) {
  std::string header = "{";
  for (size_t i = 0; i < names.size(); ++i) {
    if (i > 0) header += ',';
    header += entry(names[i], "F32", "[4]", 16 * i, 16 * i + 16);
  }
  header += '}';
  return safetensors_file(header, 16 * names.size());
}

}  // namespace penstock
