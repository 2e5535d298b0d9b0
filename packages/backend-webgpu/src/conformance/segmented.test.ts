import { holdCases } from "../testing/conformance.ts";

// The kit's references cannot hold tensors beyond this adapter's real segments.
await holdCases(["L0/segmented/", "L2/segmented/", "L3/segmented/", "L4/segmented/"], {
  segmentBytes: 4096,
  limits: "default",
});
