// Every kernel of an ISA that has its words (vec_*.h) included before.
// clang-format off: each file uses the ones above it
#include "kernels/cpu/bodies/math.inl"
#include "kernels/cpu/bodies/elementwise.inl"
#include "kernels/cpu/bodies/norm.inl"
#include "kernels/cpu/bodies/prepare.inl"
#include "kernels/cpu/bodies/score.inl"
#include "kernels/cpu/bodies/sample.inl"
#include "kernels/cpu/bodies/gemm_driver.inl"
#include "kernels/cpu/bodies/ahead.inl"
#include "kernels/cpu/bodies/multiply.inl"
#include "kernels/cpu/bodies/raw_rows.inl"

#include "kernels/cpu/bodies/gemm_f32.inl"
#include "kernels/cpu/bodies/code_dots.inl"
#include "kernels/cpu/bodies/gemm_int.inl"
#include "kernels/cpu/bodies/gemm.inl"
#include "kernels/cpu/bodies/kv_places.inl"
#include "kernels/cpu/bodies/kv.inl"
#include "kernels/cpu/bodies/kv_readers.inl"
#include "kernels/cpu/bodies/attention_driver.inl"
#include "kernels/cpu/bodies/attention_tasks.inl"
#include "kernels/cpu/bodies/attention_few.inl"
#include "kernels/cpu/bodies/attention_floats.inl"
#include "kernels/cpu/bodies/attention_codes.inl"
#include "kernels/cpu/bodies/attention.inl"
// clang-format on

void overlay(KernelTable& table) {
  table.embed = embed;
  table.norm = norm;
  table.prepare = prepare;
  table.gemm = gemm;
  table.gated = gated;
  table.rotary = rotary;
  table.kv_append = kv_append;
  table.attention = attention;
  table.gather_rows = gather_rows;
  table.score = score;
  table.sample = sample;
}
