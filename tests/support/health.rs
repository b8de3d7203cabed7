//! What GitOps tools make of objects: the real kstatus, by which Flux and Helm 4 wait, and Argo CD's health check run by
//! Argo CD's own Lua.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::error::{Context as _, Error, Result};
use super::scratch::Scratch;
use super::tools;

/// A judgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// One word of the judge's own.
    pub status: String,
    /// Why, with single spaces between its words.
    pub message: String,
}

/// What kstatus says of each object.
pub fn kstatus(objects: &[Value]) -> Result<Vec<Health>> {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    let said = run(Command::new(tools::kstatus()?.join("kstatus")), list.to_string().as_bytes())?;
    let named = said.lines().map(|line| line.split_once(' ').context(format_args!("not a judgement: {line}")));
    judgements(objects, named.map(|line| Ok(line?.1)).collect::<Result<_>>()?)
}

/// What Argo CD says of each object, with this health check installed.
pub fn argo_cd(script: &Path, objects: &[Value]) -> Result<Vec<Health>> {
    let dir = Scratch::new("lua")?;
    let mut program = SANDBOX.replace("SCRIPT", &literal(&json!(script)));
    for object in objects {
        writeln!(program, "judge({})", literal(object))?;
    }
    let program = dir.write("judge.lua", program)?;
    let mut glua = Command::new(tools::lua()?.join("glua"));
    glua.arg(program);
    judgements(objects, run(glua, b"")?.lines().collect())
}

/// A script gets the object as `obj`, the basic functions, and none of the libraries: Argo CD opens `table` and a part of
/// `os` as well, in the versions we know of. An object that is being deleted is Progressing before a script is asked.
const SANDBOX: &str = r#"
local check, print, libraries = assert(loadfile(SCRIPT)), print, {
  "string", "table", "math", "io", "os", "debug", "coroutine", "channel", "package", "require", "module", "load",
  "loadstring", "loadfile", "dofile", "print",
}
local squeeze = string.gsub
getmetatable("").__index = nil
for _, name in ipairs(libraries) do _G[name] = nil end
local function judge(object)
  if object.metadata.deletionTimestamp ~= nil then return print("Progressing Pending deletion") end
  obj = object
  local health = check()
  print(health.status .. " " .. squeeze(health.message or "", "%s+", " "))
end
"#;

/// A value as Lua writes it; null is nil, as in Argo CD.
fn literal(value: &Value) -> String {
    match value {
        Value::Null => "nil".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        // Every byte by its number: no character needs a rule of its own.
        Value::String(text) => text.bytes().fold("\"".to_owned(), |all, byte| all + &format!("\\{byte:03}")) + "\"",
        Value::Array(items) => format!("{{{}}}", items.iter().map(literal).collect::<Vec<_>>().join(",")),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| format!("[{}]={}", literal(&json!(name)), literal(value));
            format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(","))
        }
    }
}

fn judgements(objects: &[Value], lines: Vec<&str>) -> Result<Vec<Health>> {
    if lines.len() != objects.len() {
        return Err(Error::new(format!("{} judgements of {} objects: {lines:?}", lines.len(), objects.len())));
    }
    let judgement = |line: &str| {
        let (status, message) = line.split_once(' ').unwrap_or((line, ""));
        Health { status: status.to_owned(), message: message.trim().to_owned() }
    };
    Ok(lines.into_iter().map(judgement).collect())
}

fn run(mut command: Command, input: &[u8]) -> Result<String> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // Both read all of it, or nothing, before they write.
    let written = child.stdin.take().context("a child without stdin")?.write_all(input);
    let output = child.wait_with_output()?;
    let program = command.get_program().to_string_lossy();
    if !output.status.success() {
        // glua tells its errors on stdout.
        let said = [output.stdout, output.stderr].concat();
        return Err(Error::new(format!("{program}: {}\n{}", output.status, String::from_utf8_lossy(&said))));
    }
    written.context(&program)?;
    Ok(String::from_utf8(output.stdout)?)
}
