// A picture on the page as one that stands alone, and handing things over to the person.

const PROPERTIES = [
  "fill",
  "stroke",
  "stroke-width",
  "stroke-dasharray",
  "paint-order",
  "opacity",
  "font-size",
  "font-family",
];
const OF_THE_PAGE = ["class", "style", "role", "tabindex"];
/** Pixels of the bitmap for one of the page. */
const SHARPNESS = 2;

/** The picture as text with its colours written out; `unwanted` selects what is there to be pointed at only. */
export function standalone(svg: SVGSVGElement, ground: string, unwanted: string): string {
  const copy = svg.cloneNode(true) as SVGSVGElement;
  const originals = [svg, ...svg.querySelectorAll("*")];
  for (const [place, element] of [copy, ...copy.querySelectorAll("*")].entries()) {
    const style = getComputedStyle(originals[place] as Element);
    for (const name of PROPERTIES) write(element, name, style.getPropertyValue(name));
    for (const name of element.getAttributeNames())
      if (OF_THE_PAGE.includes(name) || name.startsWith("aria-value"))
        element.removeAttribute(name);
  }
  // After the colours: leaving elements out earlier would shift their places.
  const shown = [...svg.querySelectorAll("*")].map((element) => !element.matches(unwanted));
  for (const [place, element] of [...copy.querySelectorAll("*")].entries())
    if (!shown[place]) element.remove();
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  const back = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const name of ["width", "height"]) back.setAttribute(name, "100%");
  write(back, "fill", ground);
  copy.prepend(back);
  return new XMLSerializer().serializeToString(copy);
}

/** Many programs know no colour that is partly transparent: its opacity stands apart. */
function write(element: Element, name: string, value: string): void {
  const [, colour, alpha] = value.match(/^rgba\((.*), ?([\d.]+)\)$/) ?? [];
  if (alpha !== undefined) element.setAttribute(`${name}-opacity`, alpha);
  if (value !== "") element.setAttribute(name, alpha === undefined ? value : `rgb(${colour})`);
}

/** The picture as a bitmap, sharp on dense screens too. */
export async function bitmap(text: string, width: number, height: number): Promise<Blob> {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = width * SHARPNESS;
  canvas.height = height * SHARPNESS;
  canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve, reject) =>
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the bitmap is empty")))),
  );
}

/** Put something on the clipboard, or save it where that is closed; returns what was done, in a sentence. */
export async function handOver(what: Promise<Blob>, type: string, name: string): Promise<string> {
  try {
    // Text goes as plain text, which every program takes.
    if (type === "image/png")
      await navigator.clipboard.write([new ClipboardItem({ [type]: what })]);
    else await navigator.clipboard.writeText(await (await what).text());
    return "Copied.";
  } catch {
    try {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([await what], { type }));
      link.download = name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
      return `The clipboard is closed here: saved as ${name}.`;
    } catch (error) {
      return `It could not be copied: ${String((error as Error).message ?? error)}.`;
    }
  }
}
