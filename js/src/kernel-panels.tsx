// The second bundle: what the kernel sends to the page that asks for it. It takes what it shares from core.ts.
import { computed } from "@preact/signals";
import styles from "./kernel-panels.css";
import type { Link } from "./link";
import { ChannelChoice } from "./model/channels";
import { Comparing, overlayOf } from "./model/comparing";
import type { KernelPanels, Place } from "./model/from-kernel";
import type { Store } from "./model/store";
import { ChannelsPanel } from "./panels/channels";
import { ComparisonPanel } from "./panels/comparison";

/** The panels of one store, and what they know. */
export class Connected implements KernelPanels {
  readonly comparing: Comparing;
  readonly channels: ChannelChoice;
  readonly version: Comparing["version"];
  readonly isOverlaid: Comparing["isOverlaid"];
  readonly overlay = computed(() => {
    const { comparison } = this.comparing.shown.value;
    return comparison ? (edges: Float64Array) => overlayOf(comparison, edges) : null;
  });

  constructor(
    private readonly store: Store,
    link: Link,
  ) {
    const tensor = computed(() => store.scan.original(store.selected.value));
    this.comparing = new Comparing(
      link,
      computed(() => ({
        reference: store.manifest.value.reference,
        tensor: tensor.value,
        isRead: store.scan.progress.value.tensorsLeft === 0,
      })),
    );
    this.channels = new ChannelChoice(
      link,
      computed(() => ({
        tensor: tensor.value,
        space: store.shownSpace.value,
        shape: store.manifest.value.tensors.shape[store.selected.value] ?? [],
        sketch: store.sketch.value,
        scheme: store.schemeOf(store.selected.value),
      })),
      store.fromKernel.isOpen.channels,
    );
    this.version = this.comparing.version;
    this.isOverlaid = this.comparing.isOverlaid;
  }

  draw(place: Place) {
    const { store, comparing, channels: choice } = this;
    return (
      <>
        <style>{styles}</style>
        {place === "comparison" ? (
          <ComparisonPanel store={store} comparing={comparing} />
        ) : (
          <ChannelsPanel store={store} choice={choice} />
        )}
      </>
    );
  }

  figuresOf(tensor: number) {
    return this.comparing.knownOf(tensor).figures;
  }

  isAwaited(tensor: number): boolean {
    return this.comparing.isAwaited(tensor);
  }

  forgetTensor(): void {
    this.channels.forget();
  }

  forgetModel(): void {
    this.channels.forget();
    this.comparing.forget();
  }

  dispose(): void {
    this.channels.dispose();
    this.comparing.dispose();
  }
}

export function connect(store: Store, link: Link): Connected {
  return new Connected(store, link);
}
