// One of several options, which opens as a list.

interface Props<Option> {
  label: string;
  options: readonly (readonly [Option, string])[];
  chosen: Option;
  onChoose(option: Option): void;
}

export function Select<Option>({ label, options, chosen, onChoose }: Props<Option>) {
  return (
    <select
      aria-label={label}
      value={String(options.findIndex(([option]) => option === chosen))}
      onChange={({ currentTarget: { value } }) => {
        const option = options[Number(value)];
        if (option) onChoose(option[0]);
      }}
    >
      {options.map(([, text], place) => (
        <option key={place} value={String(place)}>
          {text}
        </option>
      ))}
    </select>
  );
}
