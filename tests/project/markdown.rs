//! The parts of a Markdown document that the tests compare.

/// A fenced block of code.
#[derive(Debug, PartialEq, Eq)]
pub struct Code<'a> {
    pub language: &'a str,
    /// The lines without the indentation of the fence.
    pub lines: Vec<&'a str>,
}

/// A document, split into code and text.
#[derive(Default)]
pub struct Document<'a> {
    pub code: Vec<Code<'a>>,
    pub text: Vec<&'a str>,
}

impl<'a> Document<'a> {
    pub fn parse(source: &'a str) -> Self {
        let mut document = Self::default();
        let mut open: Option<(Code<'a>, usize)> = None;
        for line in source.lines() {
            let fence = line.trim_start().strip_prefix("```");
            match (open.take(), fence) {
                (None, None) => document.text.push(line),
                (None, Some(language)) => {
                    open = Some((Code { language, lines: Vec::new() }, line.len() - line.trim_start().len()));
                }
                (Some((code, _)), Some(_)) => document.code.push(code),
                (Some((mut code, indentation)), None) => {
                    code.lines.push(line.get(indentation..).unwrap_or_default());
                    open = Some((code, indentation));
                }
            }
        }
        assert!(open.is_none(), "a block of code is not closed");
        document
    }

    /// The levels of the headings, in order.
    pub fn headings(&self) -> Vec<usize> {
        let level = |line: &&str| line.len() - line.trim_start_matches('#').len();
        self.text.iter().filter(|line| line.starts_with('#')).map(level).collect()
    }

    /// The targets of the links, sorted.
    pub fn links(&self) -> Vec<&'a str> {
        let targets = self.text.iter().flat_map(|line| line.split("](").skip(1));
        let mut links: Vec<&str> = targets.filter_map(|rest| rest.split(')').next()).collect();
        links.sort_unstable();
        links
    }

    /// The number of rows of each table, in order.
    pub fn tables(&self) -> Vec<usize> {
        let tables = self.text.split(|line| !line.starts_with('|')).map(<[_]>::len);
        tables.filter(|rows| *rows > 0).collect()
    }
}
