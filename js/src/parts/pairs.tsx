// Names and what stands for each, in columns.

interface Props {
  /** Name, text, and what is told when the pointer rests on it. */
  rows: readonly (readonly [string, string, string?])[];
}

/** A longer text takes two columns. */
const WIDE_CHARACTERS = 14;

export function Pairs({ rows }: Props) {
  return (
    <dl>
      {rows.map(([name, text, title]) => (
        <div key={name} class={text.length > WIDE_CHARACTERS ? "qw-wide" : undefined}>
          <dt>{name}</dt>
          <dd title={title}>{text}</dd>
        </div>
      ))}
    </dl>
  );
}
