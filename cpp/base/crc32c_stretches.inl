// A processor's crc32 instruction has a latency of about three cycles and a throughput of one, so
// three neighbouring stretches run at once and are joined: crc(AB) = shift(crc(A), |B|) ^ crc(B).
// Included inside the namespace of one ISA by its .cc file, which has
//   uint64_t add_word(uint64_t state, uint64_t word), uint32_t add_byte(uint32_t, unsigned char)

constexpr size_t kStretch = 1360;  // bytes, a multiple of 8: three of them are about one page

// a * b modulo the polynomial; bit 31 is x^0.
constexpr uint32_t multiply(uint32_t a, uint32_t b) {
  uint32_t product = 0;
  for (uint32_t bit = 0x80000000u; bit != 0; bit >>= 1) {
    if (a & bit) product ^= b;
    b = (b & 1) ? (b >> 1) ^ kCrc32cPolynomial : b >> 1;
  }
  return product;
}

// x^(8 bytes) modulo the polynomial.
constexpr uint32_t power(size_t bytes) {
  uint32_t result = 0x80000000u, square = 0x00800000u;  // x^0, x^8
  for (; bytes != 0; bytes >>= 1) {
    if (bytes & 1) result = multiply(result, square);
    square = multiply(square, square);
  }
  return result;
}

// value[i][b]: byte i of a state with value b, moved over kStretch zero bytes.
struct ShiftTable {
  uint32_t value[4][256];
};

constexpr ShiftTable make_shift() {
  ShiftTable table{};
  const uint32_t factor = power(kStretch);
  for (int i = 0; i < 4; ++i) {
    for (uint32_t b = 0; b < 256; ++b) table.value[i][b] = multiply(b << (8 * i), factor);
  }
  return table;
}

constexpr ShiftTable kShift = make_shift();

inline uint64_t shift(uint64_t state) {
  return kShift.value[0][state & 255] ^ kShift.value[1][state >> 8 & 255] ^
         kShift.value[2][state >> 16 & 255] ^ kShift.value[3][state >> 24 & 255];
}

inline uint64_t load(const unsigned char* data) {
  uint64_t word;
  __builtin_memcpy(&word, data, 8);
  return word;
}

inline uint32_t extend_crc32c(uint32_t state, const unsigned char* data, size_t bytes) {
  uint64_t a = state;
  for (; bytes >= 3 * kStretch; data += 3 * kStretch, bytes -= 3 * kStretch) {
    uint64_t b = 0, c = 0;
    for (size_t i = 0; i < kStretch; i += 8) {
      a = add_word(a, load(data + i));
      b = add_word(b, load(data + kStretch + i));
      c = add_word(c, load(data + 2 * kStretch + i));
    }
    a = shift(shift(a) ^ b) ^ c;
  }
  for (; bytes >= 8; data += 8, bytes -= 8) a = add_word(a, load(data));
  auto tail = static_cast<uint32_t>(a);
  for (; bytes > 0; ++data, --bytes) tail = add_byte(tail, *data);
  return tail;
}
