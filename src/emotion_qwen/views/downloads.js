// Files that the page offers for download. The table is that of `emotion-qwen export`: a test compares them.

// Takes the report, and label -> name of its column; returns the timeline as CSV (RFC 4180).
function timelineTable(report, columns) {
  const labels = Object.keys(columns);
  const header = ["file", "person", "start", "end", "label", "label_share", "valence", "arousal",
    ...labels.map((label) => columns[label]), ...labels.map((label) => `${columns[label]}_raw`), "channels"];
  const number = (value) => (value === undefined || value === null ? "" : Number.isInteger(value) ? value.toFixed(1) : String(value));
  const text = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  const subjects = [[null, report.timeline], ...report.people.map((person) => [person.person, person.timeline])];
  const rows = subjects.flatMap(([who, timeline]) => timeline.map((moment) => [
    text(report.source), who ?? "", number(moment.start), number(moment.end), text(moment.label),
    number(moment.distribution[moment.label]), ...(moment.valence_arousal ?? [null, null]).map(number),
    ...labels.map((label) => number(moment.distribution[label])), ...labels.map((label) => number(moment.raw[label])),
    text(moment.channels.join("; ")),
  ]));
  return [header.map(text), ...rows].map((row) => `${row.join(",")}\r\n`).join("");
}

function saveFile(name, type, content) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(new Blob([content], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
