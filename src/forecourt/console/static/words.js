// How figures are spelt.

export const percent = (part, whole) => {
  if (!whole || !part) return whole ? "0 %" : "–";
  const share = (100 * part) / whole;
  return share < 0.1 ? "<0.1 %" : `${share < 10 ? share.toFixed(1) : Math.round(share)} %`;
};

export const rate = (number) => (number >= 100 ? Math.round(number).toLocaleString("en") : number.toFixed(1));

export const whole = (number) => number.toLocaleString("en");

export const took = (us) => {
  if (us === null || us === undefined) return "–";
  if (us < 1000) return `${us} µs`;
  if (us < 10_000) return `${(us / 1000).toFixed(1)} ms`;
  return us < 1_000_000 ? `${Math.round(us / 1000)} ms` : `${(us / 1_000_000).toFixed(1)} s`;
};

export const ago = (seconds) => {
  if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 129_600 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} d`;
};

export const OF = { process: "this process only", fleet: "the whole fleet" };
