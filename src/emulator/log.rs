//! The request log: one record per request, in memory and optionally in a file.

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

/// The maximum time that a response waits for its record to be written to the file. If the disk stalls, the response is
/// sent anyway.
const WRITE_TIMEOUT: Duration = Duration::from_millis(500);

/// One request and its result. Each line of the log file is one record in JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// When the request took effect or was rejected, according to the emulator's clock. The format is RFC 3339 in UTC,
    /// with microseconds.
    #[serde(serialize_with = "microseconds")]
    pub time: Timestamp,
    /// The ID of the request's access key, or `null` if the request has none. If the request was rejected, the ID may
    /// be unverified.
    pub access_key_id: Option<String>,
    /// The operation that the request specifies, even if the emulator does not know it; `null` if there is none.
    pub operation: Option<String>,
    /// The parameters of the operation, without signature parameters and secrets.
    pub params: BTreeMap<String, String>,
    /// `"V3"`, `"V1"`, or `null` if the request is not signed.
    pub signature: Option<SignatureVersion>,
    /// The HTTP status of the response; 0 if a fault reset the connection instead.
    pub status: u16,
    /// The error code; `null` if the request succeeded.
    pub code: Option<String>,
    /// The `RequestId` of the response.
    pub request_id: String,
    /// The milliseconds from the arrival of the request to its response. If the connection is reset instead, this is
    /// the time until the reset or until the request takes effect, whichever is later.
    pub duration_ms: u64,
}

fn microseconds<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.6}"))
}

/// Keeps the newest records in memory and appends every record to a file.
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
    /// Creates a log that keeps the newest `capacity` records in memory. If `path` is given, the log also appends each
    /// record to that file.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be opened for appending.
    pub fn new(capacity: usize, path: Option<&Path>) -> io::Result<Self> {
        let file = path.map(LogFile::open).transpose()?;
        Ok(Self { recent: Mutex::default(), capacity, file: Mutex::new(file) })
    }

    /// Adds a record. Waits until its line is in the file, but for at most 500 ms. Because of this wait, a client that
    /// has received a response normally finds the record of its request.
    pub async fn add(&self, record: Record) {
        let written = self.file().as_ref().and_then(|file| file.send(&record));
        self.push_recent(record);
        if let Some(written) = written {
            let _ = tokio::time::timeout(WRITE_TIMEOUT, written).await;
        }
    }

    fn push_recent(&self, record: Record) {
        let mut recent = self.recent();
        if self.capacity > 0 {
            if recent.len() >= self.capacity {
                recent.pop_front();
            }
            recent.push_back(record);
        }
    }

    /// Returns the records kept in memory, oldest first.
    pub fn recent_records(&self) -> Vec<Record> {
        self.recent().iter().cloned().collect()
    }

    /// Returns the records in memory for one operation, or for all operations if `operation` is `None`, oldest first.
    pub fn records_for(&self, operation: Option<&str>) -> Vec<Record> {
        let wanted = |record: &&Record| operation.is_none() || record.operation.as_deref() == operation;
        self.recent().iter().filter(wanted).cloned().collect()
    }

    /// Returns the number of records kept in memory.
    pub fn len(&self) -> usize {
        self.recent().len()
    }

    /// Whether no record is kept in memory.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes the records from memory; the file is unchanged.
    pub fn clear(&self) {
        self.recent().clear();
    }

    /// Writes pending lines and closes the file. Later records stay in memory only.
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

/// Writes each line to the file immediately, and returns when the sender is dropped. Each write is a whole line, so
/// several emulators can append to one file.
fn write_lines(mut file: File, queue: &mpsc::Receiver<Line>) {
    let mut is_failing = false;
    for line in queue {
        match file.write_all(line.text.as_bytes()) {
            Ok(()) => is_failing = false,
            Err(error) if !is_failing => {
                is_failing = true;
                tracing::error!(%error, "cannot write the request log");
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
    async fn records_are_json_lines_and_files_are_appended_to() {
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
    async fn memory_keeps_the_newest_records() {
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
