// The layers as a tree: built once, flattened into visible rows, filtered by words.
import type { Manifest } from "../wire";

export interface TreeNode {
  /** Unique within the tree. */
  key: string;
  label: string;
  depth: number;
  parent: TreeNode | null;
  children: TreeNode[];
  /** Number of the tensor for a leaf, -1 for a layer. */
  tensor: number;
  opType: string;
  parameters: number;
  nbytes: number;
  /** What the search looks at, lower case. */
  text: string;
}

export interface Tree {
  root: TreeNode;
  /** The node of each tensor. */
  leaves: TreeNode[];
}

/** A path with more parts than this keeps the rest in its last part. */
const MAX_DEPTH = 64;

const FIRST_ROLES = ["weight", "bias"];

/** conv2 comes before conv10. */
export const NATURAL_ORDER = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

/** Build the tree of a model: layer paths split at `.` and `/`, tensors as leaves, siblings in natural order. */
export function buildTree(manifest: Manifest): Tree {
  const root = node("", "", null);
  const leaves: TreeNode[] = [];
  const layers = new Map<string, TreeNode>([["", root]]);
  const { tensors } = manifest;
  const opTypes = new Map(manifest.layers.map((layer) => [layer.path, layer.op_type]));
  for (let tensor = 0; tensor < tensors.name.length; tensor++) {
    const layer = manifest.layers[tensors.layer[tensor] ?? -1];
    const parent = layerNode(layers, root, layer?.path ?? "", opTypes);
    const name = tensors.name[tensor] ?? "";
    const leaf = node(
      `tensor:${tensor}`,
      (parent === root ? "" : tensors.role[tensor]) || name || "(unnamed)",
      parent,
    );
    leaf.tensor = tensor;
    leaf.parameters = tensors.alias_of[tensor] === -1 ? (tensors.parameters[tensor] ?? 0) : 0;
    leaf.nbytes = tensors.alias_of[tensor] === -1 ? (tensors.nbytes[tensor] ?? 0) : 0;
    leaf.text = searchText(manifest, tensor);
    parent.children.push(leaf);
    leaves.push(leaf);
  }
  finish(root);
  return { root, leaves };
}

/** What a search for a tensor looks at, lower case: its names, its types and its shape in the ways to write it. */
export function searchText({ layers, schemes, tensors }: Manifest, tensor: number): string {
  const layer = layers[tensors.layer[tensor] ?? -1];
  const lengths = tensors.shape[tensor] ?? [];
  return [
    tensors.name[tensor],
    layer?.path,
    layer?.op_type,
    tensors.role[tensor],
    schemes[tensors.scheme[tensor] ?? -1]?.label ?? tensors.dtype[tensor],
    tensors.storage_dtype[tensor],
    lengths.join("×"),
    lengths.join("x"),
    `[${lengths.join(",")}]`,
    lengths.join(", "),
  ]
    .join("\n")
    .toLowerCase();
}

/** The words of a query, lower case: a tensor is found that has them all. */
export function wordsOf(query: string): string[] {
  return query.toLowerCase().split(/\s+/).filter(Boolean);
}

/** The rows that can be seen: the children of every expanded layer, in order. */
export function visibleRows(root: TreeNode, expanded: ReadonlySet<string>): TreeNode[] {
  const rows: TreeNode[] = [];
  const walk = (parent: TreeNode) => {
    for (const child of parent.children) {
      rows.push(child);
      if (child.tensor < 0 && expanded.has(child.key)) walk(child);
    }
  };
  walk(root);
  return rows;
}

/** The rows whose tensors match every word of the query, with the layers above them, all open. */
export function matchingRows(root: TreeNode, query: string): TreeNode[] {
  const words = wordsOf(query);
  const rows: TreeNode[] = [];
  const walk = (parent: TreeNode) => {
    for (const child of parent.children) {
      if (child.tensor >= 0) {
        if (words.every((word) => child.text.includes(word))) rows.push(child);
        continue;
      }
      const before = rows.length;
      rows.push(child);
      walk(child);
      if (rows.length === before + 1) rows.pop();
    }
  };
  walk(root);
  return rows;
}

/** Every layer's key when the model is small, else those of the first levels that stay under `limit` rows. */
export function initiallyExpanded(root: TreeNode, limit: number): Set<string> {
  const expanded = new Set<string>();
  let rows = root.children.length;
  let level = root.children.filter((child) => child.tensor < 0);
  while (level.length > 0) {
    rows += level.reduce((sum, child) => sum + child.children.length, 0);
    if (rows > limit) break;
    for (const child of level) expanded.add(child.key);
    level = level.flatMap((child) => child.children.filter((inner) => inner.tensor < 0));
  }
  return expanded;
}

function node(key: string, label: string, parent: TreeNode | null): TreeNode {
  return {
    key,
    label,
    depth: 0,
    parent,
    children: [],
    tensor: -1,
    opType: "",
    parameters: 0,
    nbytes: 0,
    text: "",
  };
}

function layerNode(
  layers: Map<string, TreeNode>,
  root: TreeNode,
  path: string,
  opTypes: ReadonlyMap<string, string>,
): TreeNode {
  const known = layers.get(path);
  if (known !== undefined) return known;
  const parts = path.split(/(?<=[./])/);
  parts.push(parts.splice(MAX_DEPTH - 1).join(""));
  let parent = root;
  let end = 0;
  for (const part of parts.filter(Boolean)) {
    end += part.length;
    const isLast = end === path.length;
    const inner = isLast ? path : path.slice(0, end - 1);
    let next = layers.get(inner);
    if (next === undefined) {
      next = node(`layer:${inner}`, isLast ? part : part.slice(0, -1), parent);
      next.opType = opTypes.get(inner) ?? "";
      layers.set(inner, next);
      parent.children.push(next);
    }
    parent = next;
  }
  return parent;
}

/**
 * Merge single-layer chains, sort, add up, and set depths; MAX_DEPTH bounds the recursion.
 *
 * A layer's own tensors stand before its sublayers; tensors that belong to no layer stand after all layers.
 */
function finish(current: TreeNode, depth = -1): void {
  const leavesFirst = current.parent === null ? -1 : 1;
  current.depth = depth;
  current.children = current.children.map(merge);
  current.children.sort(
    (a, b) =>
      leavesFirst * (Number(a.tensor < 0) - Number(b.tensor < 0)) ||
      rank(a) - rank(b) ||
      NATURAL_ORDER.compare(a.label, b.label),
  );
  for (const child of current.children) {
    child.parent = current;
    finish(child, depth + 1);
    current.parameters += child.parameters;
    current.nbytes += child.nbytes;
  }
}

/** Weight and bias stand before the scales and zero points that belong to them. */
function rank({ label, tensor }: TreeNode): number {
  const place = tensor < 0 ? -1 : FIRST_ROLES.indexOf(label);
  return place < 0 ? FIRST_ROLES.length : place;
}

/** A layer whose only child is a layer becomes one row: `model_1/conv2d_1/BiasAdd`. */
function merge(child: TreeNode): TreeNode {
  let merged = child;
  for (;;) {
    const only = merged.children[0];
    if (merged.tensor >= 0 || merged.children.length !== 1 || only === undefined) return merged;
    if (only.tensor >= 0) return merged;
    only.label = `${merged.label}${only.key.charAt(merged.key.length)}${only.label}`;
    merged = only;
  }
}
