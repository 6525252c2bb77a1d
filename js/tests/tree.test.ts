import { describe, expect, it } from "vitest";
import { affineScheme, manifestOf, type TensorSpec } from "../gallery/make";
import {
  buildTree,
  initiallyExpanded,
  matchingRows,
  type TreeNode,
  visibleRows,
} from "../src/model/tree";

const tensor = (layer: string, role = "weight", part: Partial<TensorSpec> = {}): TensorSpec => ({
  layer,
  role,
  shape: [2],
  dtype: "float32",
  ...part,
});

function tree(tensors: TensorSpec[], layers: Record<string, string> = {}): TreeNode {
  return buildTree(manifestOf({ source: "", tensors, layers })).root;
}

/** The whole tree as indented labels. */
function drawn(tensors: TensorSpec[]): string[] {
  const root = tree(tensors);
  return visibleRows(root, initiallyExpanded(root, Number.POSITIVE_INFINITY)).map(
    ({ depth, label }) => "  ".repeat(depth) + label,
  );
}

function labels(rows: TreeNode[]): string[] {
  return rows.map(({ label }) => label);
}

describe("the tree", () => {
  it("splits paths at dots and slashes", () => {
    expect(drawn([tensor("a.b"), tensor("a.c"), tensor("d/e"), tensor("d/f")])).toEqual([
      "a",
      "  b",
      "    weight",
      "  c",
      "    weight",
      "d",
      "  e",
      "    weight",
      "  f",
      "    weight",
    ]);
  });

  it("keeps paths apart that differ in the separator only", () => {
    expect(drawn([tensor("a.b"), tensor("a/b", "bias")])).toEqual([
      "a",
      "  b",
      "    weight",
      "  b",
      "    bias",
    ]);
  });

  it("puts numbers in natural order", () => {
    const layers = ["block.10", "block.9", "block.1"].map((path) => tensor(path));
    expect(drawn(layers)).toEqual([
      "block",
      "  1",
      "    weight",
      "  9",
      "    weight",
      "  10",
      "    weight",
    ]);
  });

  it("puts weight and bias before the rest, and a layer's own tensors before its sublayers", () => {
    const roles = ["zero_point", "bias", "scale", "weight"].map((role) => tensor("a", role));
    expect(drawn([tensor("a.0"), ...roles])).toEqual([
      "a",
      "  weight",
      "  bias",
      "  scale",
      "  zero_point",
      "  0",
      "    weight",
    ]);
  });

  it("merges layers that hold nothing but one layer", () => {
    expect(drawn([tensor("model/conv.0/BiasAdd"), tensor("model/conv.0/BiasAdd", "bias")])).toEqual(
      ["model/conv.0/BiasAdd", "  weight", "  bias"],
    );
  });

  it("does not merge a layer that has a tensor of its own", () => {
    expect(drawn([tensor("a", "scale"), tensor("a.b")])).toEqual([
      "a",
      "  scale",
      "  b",
      "    weight",
    ]);
  });

  it("lists tensors without a layer by name", () => {
    expect(drawn([tensor("", "logits"), tensor("", "alpha")])).toEqual(["alpha", "logits"]);
  });

  it.each(["a..b", "/a/b", ".", "a.", "", "...."])("loses no tensor of the layer %j", (path) => {
    const root = tree([tensor(path), tensor("a.b", "bias")]);
    const rows = visibleRows(root, initiallyExpanded(root, Number.POSITIVE_INFINITY));
    expect(
      rows
        .map((row) => row.tensor)
        .filter((found) => found >= 0)
        .sort(),
    ).toEqual([0, 1]);
    expect(new Set(rows.map(({ key }) => key)).size).toBe(rows.length);
  });

  it("bounds the depth of a path of a hundred thousand parts", () => {
    const path = Array.from({ length: 100_000 }, (_, i) => i).join(".");
    const root = tree([tensor(path), tensor("0.other"), tensor("0.1.2.other")]);
    const rows = visibleRows(root, initiallyExpanded(root, Number.POSITIVE_INFINITY));
    const leaf = rows.find((row) => row.tensor === 0);
    expect(leaf?.depth).toBeLessThanOrEqual(64);
    expect(leaf?.parent?.key).toBe(`layer:${path}`);
  });

  it("bounds the depth of layers within layers", () => {
    const nested = Array.from({ length: 300 }, (_, depth) =>
      tensor("a.".repeat(depth).concat("a")),
    );
    const root = tree(nested);
    const rows = visibleRows(root, initiallyExpanded(root, Number.POSITIVE_INFINITY));
    expect(Math.max(...rows.map(({ depth }) => depth))).toBeLessThanOrEqual(64);
    expect(rows.filter((row) => row.tensor >= 0)).toHaveLength(300);
  });

  it("adds up parameters and bytes, an alias counted where its bytes are", () => {
    const root = tree([tensor("a.b"), tensor("a.c"), tensor("d", "weight", { aliasOf: 0 })]);
    expect([root.parameters, root.nbytes]).toEqual([4, 16]);
    expect(root.children.map(({ label, parameters }) => [label, parameters])).toEqual([
      ["a", 4],
      ["d", 0],
    ]);
  });

  it("shows two tensors of one name as two rows", () => {
    const rows = matchingRows(tree([tensor("a"), tensor("a")]), "weight");
    expect(rows.map(({ key }) => key)).toEqual(["layer:a", "tensor:0", "tensor:1"]);
  });

  it("knows what kind of layer a path is, also after merging", () => {
    const root = tree([tensor("net.fc")], { "net.fc": "Gemm" });
    expect(root.children.map(({ label, opType }) => [label, opType])).toEqual([["net.fc", "Gemm"]]);
  });
});

describe("the rows", () => {
  it("hold the children of open layers only", () => {
    const root = tree([tensor("a.b"), tensor("a.c"), tensor("d")]);
    expect(labels(visibleRows(root, new Set()))).toEqual(["a", "d"]);
    expect(labels(visibleRows(root, new Set(["layer:a"])))).toEqual(["a", "b", "c", "d"]);
    expect(labels(visibleRows(root, new Set(["layer:a.b"])))).toEqual(["a", "d"]);
  });

  it("are all open at first when they are few, else level by level while they stay few", () => {
    const root = tree(["a.b", "a.c", "d.e", "d.f"].map((path) => tensor(path)));
    const keys = (limit: number) => [...initiallyExpanded(root, limit)].sort();
    expect(keys(10)).toEqual([
      "layer:a",
      "layer:a.b",
      "layer:a.c",
      "layer:d",
      "layer:d.e",
      "layer:d.f",
    ]);
    expect(keys(9)).toEqual(["layer:a", "layer:d"]);
    expect(keys(5)).toEqual([]);
  });
});

describe("the search", () => {
  const root = tree(
    [
      tensor("features.conv1", "weight", {
        shape: [16, 3, 3],
        storage: "INT8",
        scheme: affineScheme(),
      }),
      tensor("features.conv1", "bias", { shape: [16] }),
      tensor("head.fc", "weight", { shape: [10, 16], dtype: "float16" }),
    ],
    { "head.fc": "Gemm" },
  );
  const CONV_WEIGHT = ["features.conv1", "weight"];

  it.each([
    ["CONV1.Weight", CONV_WEIGHT],
    ["conv weight", CONV_WEIGHT],
    ["weight conv", CONV_WEIGHT],
    ["int8", CONV_WEIGHT],
    ["per tensor", CONV_WEIGHT],
    ["16×3×3", CONV_WEIGHT],
    ["16x3x3", CONV_WEIGHT],
    ["[16,3,3]", CONV_WEIGHT],
    ["16, 3, 3", CONV_WEIGHT],
    ["gemm", ["head.fc", "weight"]],
    ["float16", ["head.fc", "weight"]],
    ["bias", ["features.conv1", "bias"]],
    ["conv fc", []],
    [".*", []],
  ])("for %j finds %j", (query, found) => {
    expect(labels(matchingRows(root, query))).toEqual(found);
  });
});
