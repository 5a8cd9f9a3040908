// Moments, written as how long ago they were; the moment itself stays as the title.

const UNITS = [["second", 60], ["minute", 60], ["hour", 24], ["day", 30], ["month", 12], ["year", Infinity]];
const words = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });

export function tellTimes() {
  for (const time of document.querySelectorAll("time[datetime]")) {
    const when = new Date(time.dateTime);
    if (!time.title) time.title = when.toLocaleString();
    time.textContent = ago(when);
  }
}

function ago(when) {
  let amount = (when - Date.now()) / 1000;
  for (const [unit, size] of UNITS) {
    if (Math.abs(amount) < size) return words.format(Math.round(amount), unit);
    amount /= size;
  }
  return when.toLocaleDateString();
}
