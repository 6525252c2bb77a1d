// The second bundle: what the kernel sends to the page that asks for it. It takes what it shares from core.ts.
import { computed } from "@preact/signals";
import styles from "./kernel-panels.css";
import type { Link } from "./link";
import { ChannelChoice } from "./model/channels";
import { Comparing, overlayOf } from "./model/comparing";
import { ExplanationChoice } from "./model/explanation";
import type { KernelPanels, Place } from "./model/from-kernel";
import type { Range } from "./model/range";
import { Shared } from "./model/shared";
import type { Store } from "./model/store";
import { ChannelsPanel } from "./panels/channels";
import { ComparisonPanel } from "./panels/comparison";
import { ExplanationPanel } from "./panels/explanation";

/** The panels of one store, and what they know. */
export class Connected implements KernelPanels {
  readonly comparing: Comparing;
  readonly channels: ChannelChoice;
  readonly explanation: ExplanationChoice;
  readonly version: Comparing["version"];
  readonly isOverlaid: Comparing["isOverlaid"];
  readonly overlay = computed(() => {
    const { comparison } = this.comparing.shown.value;
    return comparison ? (edges: Float64Array) => overlayOf(comparison, edges) : null;
  });

  private readonly shared: Shared;

  constructor(
    private readonly store: Store,
    link: Link,
  ) {
    const tensor = computed(() => store.scan.original(store.selected.value));
    const shape = computed(() => store.manifest.value.tensors.shape[store.selected.value] ?? []);
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
        shape: shape.value,
        sketch: store.sketch.value,
        scheme: store.schemeOf(store.selected.value),
      })),
      computed(() => this.comparing.shown.value.comparison ?? null),
      store.fromKernel.isOpen.channels,
    );
    this.explanation = new ExplanationChoice(
      link,
      computed(() => ({
        tensor: store.sketch.value ? tensor.value : -1,
        shape: shape.value,
        space: store.shownSpace.value,
      })),
      store.fromKernel.isOpen.explanation,
    );
    this.shared = new Shared(
      link,
      "channel",
      () => this.channels.told,
      (told) => this.channels.adopt(told),
    );
    this.shared.adopt();
    this.version = this.comparing.version;
    this.isOverlaid = this.comparing.isOverlaid;
  }

  draw(place: Place) {
    const { store, comparing, explanation, channels: choice } = this;
    const panels = {
      explanation: () => <ExplanationPanel store={store} explanation={explanation} />,
      comparison: () => <ComparisonPanel store={store} comparing={comparing} />,
      channels: () => <ChannelsPanel store={store} choice={choice} />,
    };
    return (
      <>
        <style>{styles}</style>
        {panels[place]()}
      </>
    );
  }

  figuresOf(tensor: number) {
    return this.comparing.knownOf(tensor).figures;
  }

  isAwaited(tensor: number): boolean {
    return this.comparing.isAwaited(tensor);
  }

  explainOneIn(range: Range): void {
    void this.explanation.findIn(range);
  }

  forgetTensor(): void {
    this.channels.forget();
    this.explanation.forget();
  }

  forgetModel(): void {
    this.forgetTensor();
    this.comparing.forget();
  }

  dispose(): void {
    this.shared.dispose();
    this.explanation.dispose();
    this.channels.dispose();
    this.comparing.dispose();
  }
}

export function connect(store: Store, link: Link): Connected {
  return new Connected(store, link);
}
