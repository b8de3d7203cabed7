//! The table that compares the figures of both operators.

use crate::measure::median;
use crate::subject::Subject;

/// One figure, measured several times for each operator.
pub struct Row {
    measure: String,
    decimals: usize,
    limit: Option<f64>,
    yardstick: Vec<f64>,
    operator: Vec<f64>,
}

impl Row {
    /// Creates a row that has no values yet. `measure` includes the unit.
    pub fn new(measure: impl Into<String>, decimals: usize) -> Self {
        Self { measure: measure.into(), decimals, limit: None, yardstick: Vec::new(), operator: Vec::new() }
    }

    /// Sets the best value that any operator can reach.
    pub fn limit(mut self, limit: f64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Adds the results of the operators' runs.
    pub fn of<T>(mut self, results: &[(Subject, T)], value: impl Fn(&T) -> f64) -> Self {
        for (subject, result) in results {
            match subject {
                Subject::Yardstick => self.yardstick.push(value(result)),
                Subject::Operator => self.operator.push(value(result)),
            }
        }
        self
    }

    fn cells(&self) -> [String; 5] {
        let middle = |values: &[f64]| (!values.is_empty()).then(|| median(&mut values.to_vec()));
        let (yardstick, operator) = (middle(&self.yardstick), middle(&self.operator));
        let cell =
            |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.*}", self.decimals));
        // The ratio is undefined if the yardstick's figure is zero.
        let ratio = yardstick.zip(operator).filter(|(yardstick, _)| *yardstick > 0.0);
        let ratio =
            ratio.map_or_else(|| "-".to_owned(), |(yardstick, operator)| format!("{:.2}", operator / yardstick));
        [self.measure.clone(), cell(self.limit), cell(yardstick), cell(operator), ratio]
    }
}

/// Formats the rows as a Markdown table.
pub fn markdown(rows: &[Row]) -> String {
    let head = ["measure", "limit", "yardstick", "operator", "ratio"].map(str::to_owned);
    let cells: Vec<[String; 5]> = std::iter::once(head).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| cells.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let widths: [usize; 5] = std::array::from_fn(width);
    let line = |row: &[String; 5]| {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
            if column == 0 { format!("{cell:width$}") } else { format!("{cell:>width$}") }
        });
        format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
    };
    let rule: [String; 5] = std::array::from_fn(|column| {
        if column == 0 { "-".repeat(widths[0]) } else { format!("{}:", "-".repeat(widths[column] - 1)) }
    });
    let mut lines = cells.iter().map(line);
    let head = lines.next().unwrap_or_default();
    head + &line(&rule) + &lines.collect::<String>()
}
