// Panels that a sketch suffices for: built into the page of to_html, and sent by the kernel to all others.
import { computed, type ReadonlySignal, signal } from "@preact/signals";
import styles from "./kernel-panels.css";
import type { Link } from "./link";
import type { Figures } from "./model/figures";
import type { Frame, KernelPanels, Place } from "./model/from-kernel";
import type { Histogram } from "./model/histogram";
import type { Range } from "./model/range";
import { Shared } from "./model/shared";
import type { Store } from "./model/store";
import { WhatIfChoice } from "./model/what-if";
import { ClipLimits } from "./panels/clip-limits";
import { CopyMenu } from "./panels/copy";
import { WhatIfPanel } from "./panels/what-if";

/** These panels of one store. Of what only a kernel knows they know nothing. */
export class SketchPanels implements KernelPanels {
  readonly styles = styles;
  readonly whatIf: WhatIfChoice;
  readonly version: ReadonlySignal<number> = signal(0);
  readonly overlay: KernelPanels["overlay"] = signal(null);
  readonly isOverlaid = signal(false);
  private readonly quantizer: Shared;

  constructor(
    protected readonly store: Store,
    link: Link,
  ) {
    this.whatIf = new WhatIfChoice(
      link,
      computed(() => ({
        tensor: store.scan.original(store.selected.value),
        shape: store.manifest.value.tensors.shape[store.selected.value] ?? [],
        sketch: store.sketch.value,
        scheme: store.schemeOf(store.selected.value),
        formats: store.manifest.value.number_formats,
      })),
      store.fromKernel.isOpen["what-if"],
    );
    this.quantizer = new Shared(
      link,
      "what_if",
      () => this.whatIf.told,
      (told) => this.whatIf.adopt(told),
    );
  }

  draw(place: Place): unknown {
    return place === "what-if" ? <WhatIfPanel store={this.store} whatIf={this.whatIf} /> : null;
  }

  drawOver(frame: Frame): unknown {
    return <ClipLimits store={this.store} whatIf={this.whatIf} {...frame} />;
  }

  drawCopy(drawn: Histogram): unknown {
    return <CopyMenu key={this.store.selected.value} drawn={drawn} />;
  }

  figuresOf(_tensor: number): Figures | undefined {
    return undefined;
  }

  isAwaited(_tensor: number): boolean {
    return false;
  }

  explainOneIn(_range: Range): void {}

  adopt(): void {
    this.quantizer.adopt();
  }

  forgetTensor(): void {
    this.whatIf.forget();
  }

  forgetModel(): void {
    this.forgetTensor();
  }

  dispose(): void {
    this.quantizer.dispose();
    this.whatIf.dispose();
  }
}
