// How numbers, times and durations are written: thousands separated, local time, units beside.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const brief = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 4 });
const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const dated = new Intl.DateTimeFormat("en-GB", {
  day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit",
});
const planned = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const dayed = new Intl.DateTimeFormat("en-GB", {
  day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit",
});

export const count = (n) => (n === null || n === undefined ? "unknown" : whole.format(n));
export const short = (n) => (Math.abs(n) < 1e6 ? whole.format(n) : compact.format(n));
export const figure = (n) => {
  if (n === null || n === undefined) return "unknown";
  if (n !== 0 && (Math.abs(n) >= 1e9 || Math.abs(n) < 1e-4)) return n.toExponential(2);
  return brief.format(n);
};
export const rate = (n) => (n >= 100 ? whole.format(n) : figure(Math.round(n * 10) / 10));
export const nats = (n) => (n === null || n === undefined ? "no number" : fixed(n, Math.abs(n) < 10 ? 2 : 1));
export const fixed = (n, digits) => new Intl.NumberFormat("en", {
  minimumFractionDigits: digits, maximumFractionDigits: digits,
}).format(n);
export const signed = (n) => (n >= 0 ? "+" : "\u2212") + nats(Math.abs(n));

/** A share as a percentage that keeps two digits however small it is. */
export function percent(ratio) {
  if (ratio === null || ratio === undefined) return "unknown";
  const digits = ratio === 0 || ratio >= 0.1 ? 1 : Math.min(1 - Math.floor(Math.log10(ratio * 100)), 6);
  return `${fixed(100 * ratio, Math.max(digits, 1))}\u2009%`;
}

/** A value of a record, with its unit: what is no number stays as it is. */
export function value(found, unit) {
  if (found === null || found === undefined) return "missing";
  if (typeof found === "number") return unit ? `${figure(found)}\u00a0${unit}` : figure(found);
  return typeof found === "object" ? JSON.stringify(found) : String(found);
}

/** A value and what was expected, with as many decimals each, so that they compare at a glance. */
export function pair(found, expected, unit) {
  if (typeof found !== "number" || typeof expected !== "number") return [value(found, unit), value(expected, unit)];
  const sizes = [found, expected].filter((n) => n !== 0).map(Math.abs);
  if (!sizes.length || Math.max(...sizes) >= 1e7 || Math.min(...sizes) < 1e-3) return [value(found, unit), value(expected, unit)];
  const digits = Math.min(Math.max(3 - Math.floor(Math.log10(Math.max(...sizes))), 0), 5);
  const least = Number.isInteger(found) && Number.isInteger(expected) ? 0 : digits;
  return [found, expected].map((n) => (unit ? `${fixed(n, least)}\u00a0${unit}` : fixed(n, least)));
}

/** An instant in local time; the day is said where it is not today. */
export function instant(iso) {
  if (!iso) return "";
  const when = new Date(iso);
  if (Number.isNaN(when.getTime())) return String(iso);
  if (Math.abs(Date.now() - when) > 300 * 86400e3) return dayed.format(when);
  return when.toDateString() === new Date().toDateString() ? clock.format(when) : dated.format(when);
}

/** A day and a time without seconds; the year is said where it is not this one. */
export function day(iso) {
  const when = new Date(iso);
  return (when.getFullYear() === new Date().getFullYear() ? planned : dayed).format(when);
}

/** A duration in its two largest units. */
export function lasting(seconds) {
  const total = Math.max(Math.round(seconds), 0);
  for (const [size, unit, below, smaller] of [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]]) {
    if (total >= size) {
      const rest = Math.floor((total % size) / below);
      return `${Math.floor(total / size)}\u00a0${unit}${rest ? ` ${rest}\u00a0${smaller}` : ""}`;
    }
  }
  return `${total}\u00a0s`;
}

export const since = (iso) => lasting((Date.now() - new Date(iso)) / 1000);

/** How often a normal record scores as high. */
export function rarity(probability) {
  if (probability === null || probability === undefined || probability < 1e-9) return "unheard of among normal records";
  return `1 in ${whole.format(1 / probability)} normal records scores as high`;
}

export const named = (entity) => Object.values(entity ?? {}).filter((part) => part !== null).join(" ");

/** The zone that all times are in, in words. */
export function zone() {
  const parts = new Intl.DateTimeFormat("en-GB", { timeZoneName: "shortOffset" }).formatToParts(new Date());
  const offset = parts.find((part) => part.type === "timeZoneName")?.value ?? "";
  const name = Intl.DateTimeFormat().resolvedOptions().timeZone ?? "local time";
  return name === "UTC" || name === offset ? name : `${name} (${offset})`;
}
