import { type DType, bytesPerElement } from "@moiety/core";
import type { ElementType } from "../../program.ts";

/** The type as which four neighbours of a dtype are bound: a vector, or the words that hold them. */
export function quadType(dtype: DType): ElementType {
  return bytesPerElement(dtype) === 4 ? "vec4<u32>" : "u32";
}

/** WGSL `quad_x(group)`: the bits of elements 4·group … 4·group + 3 of operand `x`, one a lane. */
export function loadQuadText(operand: string, dtype: DType): string {
  return `fn quad_${operand}(group: u32) -> vec4<u32> {\n${loadBody(operand, dtype)}\n}`;
}

function loadBody(operand: string, dtype: DType): string {
  switch (bytesPerElement(dtype)) {
    case 1:
      return `  let word = load_${operand}(group);
  return (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(0xffu);`;
    case 2:
      return `  let low = load_${operand}(2u * group);
  let high = load_${operand}(2u * group + 1u);
  return vec4<u32>(low & 0xffffu, low >> 16u, high & 0xffffu, high >> 16u);`;
    default:
      return `  return load_${operand}(group);`;
  }
}

/** WGSL `putQuad_y(group, bits)`: writes elements 4·group … 4·group + 3 of operand `y`. */
export function storeQuadText(operand: string, dtype: DType): string {
  return `fn putQuad_${operand}(group: u32, bits: vec4<u32>) {\n${storeBody(operand, dtype)}\n}`;
}

function storeBody(operand: string, dtype: DType): string {
  switch (bytesPerElement(dtype)) {
    case 1:
      return `  store_${operand}(group, bits.x | (bits.y << 8u) | (bits.z << 16u) | (bits.w << 24u));`;
    case 2:
      return `  store_${operand}(2u * group, bits.x | (bits.y << 16u));
  store_${operand}(2u * group + 1u, bits.z | (bits.w << 16u));`;
    default:
      return `  store_${operand}(group, bits);`;
  }
}
