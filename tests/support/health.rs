//! Computes the health of objects as GitOps tools do: with the kstatus library of Flux and Helm 4, with health
//! expressions in Flux's CEL library, and with an Argo CD health check in the Lua interpreter of Argo CD.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::error::{Context as _, Error, Result};
use super::scratch::Scratch;
use super::tools;

/// The health of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The status that the tool reports, such as `Current` or `Healthy`.
    pub status: String,
    /// The message from the tool, with whitespace collapsed.
    pub message: String,
}

/// Computes the health of each object with kstatus.
pub fn kstatus(objects: &[Value]) -> Result<Vec<Health>> {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    let output = run(Command::new(tools::kstatus()?.join("kstatus")), list.to_string().as_bytes())?;
    let named = output.lines().map(|line| line.split_once(' ').context(format_args!("not a health: {line}")));
    parse(objects, named.map(|line| Ok(line?.1)).collect::<Result<_>>()?)
}

/// Computes the health of each object with the `healthCheckExprs` of a Flux Kustomization. The messages are empty.
pub fn flux_health(expressions: &Value, objects: &[Value]) -> Result<Vec<Health>> {
    let input = json!({ "healthCheckExprs": expressions, "objects": objects });
    let output = run(Command::new(tools::flux()?.join("flux-health")), input.to_string().as_bytes())?;
    parse(objects, output.lines().collect())
}

/// Computes the health of each object with a health check of Argo CD.
pub fn argo_cd(script: &Path, objects: &[Value]) -> Result<Vec<Health>> {
    let dir = Scratch::new("lua")?;
    let mut program = SANDBOX.replace("SCRIPT", &literal(&json!(script)));
    for object in objects {
        writeln!(program, "judge({})", literal(object))?;
    }
    let program = dir.write("judge.lua", program)?;
    let mut glua = Command::new(tools::lua()?.join("glua"));
    glua.arg(program);
    parse(objects, run(glua, b"")?.lines().collect())
}

/// A Lua program that imitates the environment of a health check in Argo CD. The variable `obj` contains the object,
/// and only basic functions are available. Argo CD also provides `table` and a part of `os`, but this sandbox does not.
/// If an object is being deleted, the program reports Progressing without calling the script, as Argo CD does.
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

/// Formats a value as a Lua literal; null is nil, as in Argo CD.
fn literal(value: &Value) -> String {
    match value {
        Value::Null => "nil".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        // Every byte is escaped, so there are no special cases.
        Value::String(text) => text.bytes().fold("\"".to_owned(), |all, byte| all + &format!("\\{byte:03}")) + "\"",
        Value::Array(items) => format!("{{{}}}", items.iter().map(literal).collect::<Vec<_>>().join(",")),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| format!("[{}]={}", literal(&json!(name)), literal(value));
            format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(","))
        }
    }
}

fn parse(objects: &[Value], lines: Vec<&str>) -> Result<Vec<Health>> {
    if lines.len() != objects.len() {
        return Err(Error::new(format!("{} results for {} objects: {lines:?}", lines.len(), objects.len())));
    }
    let health = |line: &str| {
        let (status, message) = line.split_once(' ').unwrap_or((line, ""));
        Health { status: status.to_owned(), message: message.trim().to_owned() }
    };
    Ok(lines.into_iter().map(health).collect())
}

fn run(mut command: Command, input: &[u8]) -> Result<String> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // This write cannot deadlock: kstatus and flux-health read all of their input before they write output, and the
    // input of glua is empty.
    let written = child.stdin.take().context("a child without stdin")?.write_all(input);
    let output = child.wait_with_output()?;
    let program = command.get_program().to_string_lossy();
    if !output.status.success() {
        // glua prints its errors to stdout.
        let printed = [output.stdout, output.stderr].concat();
        return Err(Error::new(format!("{program}: {}\n{}", output.status, String::from_utf8_lossy(&printed))));
    }
    written.context(&program)?;
    Ok(String::from_utf8(output.stdout)?)
}
