//! What a finished run tells: every frame accounted for, every view counted.

use std::io::IsTerminal;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::app::{Pipeline, Summary};
use crate::recovery::Restored;
use crate::store::edge::RejectedFrame;

/// A bar on a terminal; nothing elsewhere. `length` in the unit of its position.
pub(super) fn progress(length: u64, template: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style)
}

/// Restores the last run, with a line that says how far it is.
pub(super) fn restoring(pipeline: &mut Pipeline) -> anyhow::Result<Restored> {
    let line = progress(0, "{spinner} restoring the last run {msg} {elapsed}");
    let restored = pipeline.restore(|quanta| {
        if quanta.is_multiple_of(256) {
            line.set_message(format!("{} quanta", grouped(quanta)));
        }
    });
    line.finish_and_clear();
    restored
}

/// A table without frills, right-aligned numbers from the second column on.
pub(super) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header(header.to_vec());
    let mut numeric = vec![true; header.len()];
    for row in rows {
        for (numeric, cell) in numeric.iter_mut().zip(&row) {
            *numeric &= cell.is_empty() || cell.starts_with(|c: char| c.is_ascii_digit());
        }
        table.add_row(row);
    }
    for (number, column) in table.column_iter_mut().enumerate().skip(1) {
        if numeric.get(number) == Some(&true) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// 1234567 as 1,234,567.
pub(super) fn grouped(number: impl Into<i128>) -> String {
    let number: i128 = number.into();
    let digits = number.unsigned_abs().to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if number < 0 { format!("-{out}") } else { out }
}

/// The run as tables for people.
pub(super) fn text(summary: &Summary, lines: u64, elapsed: Duration) -> String {
    let accounts = summary.accounts.lines();
    let frames = accounts.iter().map(|l| vec![l.venue.to_owned(), l.fate.to_owned(), l.what.clone(), grouped(l.frames)]);
    let accounted: u64 = accounts.iter().map(|line| line.frames).sum();
    let views = summary.kept.rows.iter().map(|(view, &rows)| {
        let changes = summary.kept.changes.get(view).copied().unwrap_or_default();
        vec![(*view).to_owned(), grouped(rows), grouped(changes)]
    });
    let rate = lines as f64 / elapsed.as_secs_f64().max(1e-9);
    let mut out = format!(
        "{}\n{} of {} lines accounted for: {} used, {} skipped, {} rejected\n\n{}\n",
        table(&["venue", "fate", "type or reason", "frames"], frames),
        grouped(accounted),
        grouped(lines),
        grouped(summary.accounts.total("used")),
        grouped(summary.accounts.total("skipped")),
        grouped(summary.accounts.total("rejected")),
        table(&["view", "rows", "changes"], views),
    );
    for row in &summary.kept.rejected {
        out += &format!("{}\n", refused(row));
    }
    if summary.accounts.total("rejected") > summary.kept.rejected.len() as u64 {
        out += "… all of them are in the view rejected_frames\n";
    }
    out += &format!("{}\n", ticks(summary));
    for ((event, status), count) in &summary.kept.events {
        out += &format!("{event} {status}: {}\n", grouped(*count));
    }
    if summary.spool.rows > 0 {
        let rows = grouped(summary.spool.rows);
        out +=
            &format!("{rows} rows are in the spool (store.spool_dir): ClickHouse took none; the next start stores them first\n");
    }
    if summary.spool.dead_letters > 0 {
        let rows = grouped(summary.spool.dead_letters);
        out += &format!(
            "{rows} rows were refused by ClickHouse for what is in them: see dead_letter/rows.jsonl in store.spool_dir\n"
        );
    }
    out += &format!("{} lines in {:.2} s ({} lines/s)\n", grouped(lines), elapsed.as_secs_f64(), grouped(rate as i64));
    out
}

/// Where it was, what was wrong, how it began.
fn refused(row: &RejectedFrame) -> String {
    const SHOWN_CHARS_MAX: usize = 100;
    let RejectedFrame { venue, stream, seq, reason, payload, .. } = row;
    let start: String = payload.chars().take(SHOWN_CHARS_MAX).filter(|c| !c.is_control()).collect();
    format!("line {seq}: {venue} {stream}: {reason}: {start}")
}

fn ticks(summary: &Summary) -> String {
    let counters = &summary.counters;
    format!(
        "{} prints in bars, {} off the book, {} duplicates dropped, {} late and applied, {} too late and only listed",
        grouped(counters.prints.load(Relaxed)),
        grouped(counters.off_book.load(Relaxed)),
        grouped(counters.duplicates.load(Relaxed)),
        grouped(counters.late.load(Relaxed)),
        grouped(counters.too_late.load(Relaxed)),
    )
}

/// The run for machines.
pub(super) fn json(summary: &Summary, lines: u64, elapsed: Duration) -> Value {
    let counters = &summary.counters;
    let events: Vec<Value> = summary
        .kept
        .events
        .iter()
        .map(|((event_type, status), count)| json!({"event_type": event_type, "status": status, "count": count}))
        .collect();
    json!({
        "lines": lines,
        "used": summary.accounts.total("used"),
        "skipped": summary.accounts.total("skipped"),
        "rejected": summary.accounts.total("rejected"),
        "frames": summary.accounts.lines(),
        "rows": summary.kept.rows,
        "changes": summary.kept.changes,
        "quanta": summary.kept.quanta,
        "events": events,
        "first_rejected": summary.kept.rejected.iter().map(refused).collect::<Vec<_>>(),
        "undelivered": summary.undelivered,
        "spooled_rows": summary.spool.rows,
        "dead_letters": summary.spool.dead_letters,
        "prints": counters.prints.load(Relaxed),
        "off_book": counters.off_book.load(Relaxed),
        "duplicates": counters.duplicates.load(Relaxed),
        "late": counters.late.load(Relaxed),
        "too_late": counters.too_late.load(Relaxed),
        "seconds": elapsed.as_secs_f64(),
    })
}
