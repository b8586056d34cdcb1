//! Tables for people.

use serde_json::Value;

/// Columns as wide as their longest cell, the last one as it comes.
pub(super) fn print(head: &[&str], rows: &[Vec<String>]) {
    let lengths = |at: usize| rows.iter().map(move |row| row[at].chars().count());
    let widths: Vec<usize> = head
        .iter()
        .enumerate()
        .map(|(at, name)| lengths(at).chain([name.chars().count()]).max().unwrap_or(0))
        .collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    println!("{}", line(head.to_vec()));
    for row in rows {
        println!("{}", line(row.iter().map(String::as_str).collect()));
    }
}

/// A JSON value as a cell. Control characters, which a terminal would obey, are shown as what they are.
pub(super) fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => format!("{:.3}", number.as_f64().unwrap_or_default()),
        other => other.to_string(),
    };
    harmless(&text)
}

/// Text that a terminal does not obey.
pub(super) fn harmless(text: &str) -> String {
    let shown = |c: char| {
        let obeyed = c.is_control() && c != '\t';
        if obeyed { c.escape_default().to_string() } else { c.to_string() }
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_not_commanded_by_what_is_shown() {
        assert_eq!(harmless("a\u{1b}[2Jb\r"), "a\\u{1b}[2Jb\\r");
        assert_eq!(cell(&Value::Null), "-");
    }
}
