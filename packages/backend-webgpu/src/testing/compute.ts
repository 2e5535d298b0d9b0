/** Bits of `GPUBufferUsage` and `GPUMapMode`, which are no globals in Node. */
const usage = { mapRead: 0x1, copySource: 0x4, copyTarget: 0x8, storage: 0x80 };

const shader = `
@group(0) @binding(0) var<storage, read_write> values: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x < arrayLength(&values)) {
    values[id.x] = 3.0 * values[id.x] + f32(id.x);
  }
}`;

/**
 * Three times each number and its index, computed by a kernel of the device: shows that it computes,
 * with nothing between the test and WebGPU. Small integers come back exact.
 */
export async function computeOn(device: GPUDevice, values: readonly number[]): Promise<number[]> {
  const size = values.length * Float32Array.BYTES_PER_ELEMENT;
  const data = device.createBuffer({
    size,
    usage: usage.storage | usage.copySource | usage.copyTarget,
  });
  const result = device.createBuffer({ size, usage: usage.mapRead | usage.copyTarget });
  device.queue.writeBuffer(data, 0, Float32Array.from(values));
  const pipeline = await device.createComputePipelineAsync({
    layout: "auto",
    compute: { module: device.createShaderModule({ code: shader }), entryPoint: "main" },
  });
  const group = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: [{ binding: 0, resource: { buffer: data } }],
  });
  const commands = device.createCommandEncoder();
  const pass = commands.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, group);
  pass.dispatchWorkgroups(Math.ceil(values.length / 64));
  pass.end();
  commands.copyBufferToBuffer(data, 0, result, 0, size);
  device.queue.submit([commands.finish()]);
  await result.mapAsync(usage.mapRead);
  const computed = [...new Float32Array(result.getMappedRange())];
  result.destroy();
  data.destroy();
  return computed;
}
