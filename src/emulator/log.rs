//! The request log: a line for every request, in memory and, if wanted, in a file.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use tokio::sync::oneshot;

use super::verify::SignatureVersion;

/// How long an answer waits for its line to be in the file. With a disk that stalls, answers go out before their lines.
const PATIENCE: Duration = Duration::from_millis(500);

/// One request and what became of it. A line of the log file is this as JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// When it took effect or was refused, by the emulator's clock: RFC 3339 in UTC with microseconds.
    #[serde(serialize_with = "microseconds")]
    pub time: Timestamp,
    /// Whose key it names; `null` when it names none. In a refused request this is a claim.
    pub access_key_id: Option<String>,
    /// The operation it names.
    pub operation: Option<String>,
    /// The parameters of the operation, without those of the signature.
    pub params: BTreeMap<String, String>,
    /// `"V3"`, `"V1"`, or `null` when it is not signed.
    pub signature: Option<SignatureVersion>,
    /// The HTTP status of the answer; 0 when there was none (a fault that resets the connection).
    pub status: u16,
    /// The code of the error, `null` for a success.
    pub code: Option<String>,
    /// The `RequestId` of the answer.
    pub request_id: String,
    /// Whole milliseconds from the arrival to the answer, or to the effect when there was no answer.
    pub duration_ms: u64,
}

fn microseconds<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.6}"))
}

/// Collects the records.
#[derive(Debug)]
pub struct RequestLog {
    recent: Mutex<VecDeque<Record>>,
    capacity: usize,
    file: Mutex<Option<LogFile>>,
}

#[derive(Debug)]
struct LogFile {
    lines: mpsc::Sender<Line>,
    writer: JoinHandle<()>,
}

struct Line {
    text: String,
    written: oneshot::Sender<()>,
}

impl RequestLog {
    /// Keeps the last `capacity` records in memory, and appends every record to the file at `path`.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened for appending.
    pub fn new(capacity: usize, path: Option<&Path>) -> io::Result<Self> {
        let file = path.map(LogFile::open).transpose()?;
        Ok(Self { recent: Mutex::default(), capacity, file: Mutex::new(file) })
    }

    /// Adds a record. Returns when its line is in the file, or after half a second: so who has the answer to a request
    /// finds its line.
    pub async fn add(&self, record: Record) {
        let written = self.file().as_ref().and_then(|file| file.send(&record));
        self.remember(record);
        if let Some(written) = written {
            let _ = tokio::time::timeout(PATIENCE, written).await;
        }
    }

    fn remember(&self, record: Record) {
        let mut recent = self.recent();
        if self.capacity > 0 {
            if recent.len() >= self.capacity {
                recent.pop_front();
            }
            recent.push_back(record);
        }
    }

    /// The records kept in memory, oldest first.
    pub fn recent_records(&self) -> Vec<Record> {
        self.recent().iter().cloned().collect()
    }

    /// Those of one operation, or all.
    pub fn records_of(&self, operation: Option<&str>) -> Vec<Record> {
        let wanted = |record: &&Record| operation.is_none() || record.operation.as_deref() == operation;
        self.recent().iter().filter(wanted).cloned().collect()
    }

    /// How many records are kept in memory.
    pub fn len(&self) -> usize {
        self.recent().len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Empties the memory; the file keeps what it has.
    pub fn clear(&self) {
        self.recent().clear();
    }

    /// Writes what is left and closes the file. Records added afterwards stay in memory only.
    pub fn close(&self) {
        let file = self.file().take();
        if let Some(LogFile { lines, writer }) = file {
            drop(lines);
            let _ = writer.join();
        }
    }

    fn recent(&self) -> MutexGuard<'_, VecDeque<Record>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self) -> MutexGuard<'_, Option<LogFile>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogFile {
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let (lines, queue) = mpsc::channel();
        let writer =
            std::thread::Builder::new().name("request-log".to_owned()).spawn(move || write_lines(file, &queue))?;
        Ok(Self { lines, writer })
    }

    fn send(&self, record: &Record) -> Option<oneshot::Receiver<()>> {
        let mut text = serde_json::to_string(record).ok()?;
        text.push('\n');
        let (written, done) = oneshot::channel();
        self.lines.send(Line { text, written }).ok()?;
        Some(done)
    }
}

/// Writes line after line, unbuffered, until the sender is gone. Whole lines only, so that several emulators can append
/// to one file.
fn write_lines(mut file: File, queue: &mpsc::Receiver<Line>) {
    let mut failing = false;
    for line in queue {
        match file.write_all(line.text.as_bytes()) {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                failing = true;
                tracing::error!(%error, "the request log cannot be written");
            }
            Err(_) => {}
        }
        let _ = line.written.send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(request_id: &str) -> Record {
        Record {
            time: "2026-01-02T03:04:05.678901234Z".parse().unwrap(),
            access_key_id: Some("testid".to_owned()),
            operation: Some("CreateLiveMessageGroup".to_owned()),
            params: BTreeMap::from([("AppId".to_owned(), "demo\n群".to_owned())]),
            signature: Some(SignatureVersion::V3),
            status: 400,
            code: Some("Throttling.User".to_owned()),
            request_id: request_id.to_owned(),
            duration_ms: 7,
        }
    }

    #[tokio::test]
    async fn a_line_is_json_on_one_line_and_files_are_appended_to() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("requests.jsonl");
        for id in ["A", "B"] {
            let log = RequestLog::new(10, Some(&path)).unwrap();
            log.add(record(id)).await;
            assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), if id == "A" { 1 } else { 2 });
            log.close();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text.lines().next().unwrap(),
            "{\"time\":\"2026-01-02T03:04:05.678901Z\",\"accessKeyId\":\"testid\",\
             \"operation\":\"CreateLiveMessageGroup\",\"params\":{\"AppId\":\"demo\\n群\"},\"signature\":\"V3\",\
             \"status\":400,\"code\":\"Throttling.User\",\"requestId\":\"A\",\"durationMs\":7}"
        );
    }

    #[tokio::test]
    async fn the_memory_keeps_the_newest() {
        let log = RequestLog::new(2, None).unwrap();
        for id in ["A", "B", "C"] {
            log.add(record(id)).await;
        }
        let ids: Vec<String> = log.recent_records().into_iter().map(|record| record.request_id).collect();
        assert_eq!(ids, ["B", "C"]);
        log.clear();
        assert!(log.recent_records().is_empty());
    }
}
