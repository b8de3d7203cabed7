-- Health of LiveMessageGroups, and of every kind whose status follows docs/status.md, for Argo CD.
-- The status has the shape of kstatus: a generation that was not acted on comes first, then who has to act. Before all of
-- it comes a pause: what is edited meanwhile is not acted on before somebody ends it, and nothing progresses.
-- Argo CD runs this without the standard libraries, and not at all for an object that is being deleted.

local status = obj.status or {}
local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end

local function holds(type)
  return conditions[type] ~= nil and conditions[type].status == "True"
end

if holds("Paused") then
  return { status = "Suspended", message = conditions.Paused.message }
end
if status.observedGeneration == nil or status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "Waiting for the operator" }
end
if holds("Stalled") then
  return { status = "Degraded", message = conditions.Stalled.message }
end
if holds("Ready") then
  return { status = "Healthy", message = conditions.Ready.message }
end
local why = conditions.Reconciling or conditions.Ready or {}
return { status = "Progressing", message = why.message or "Waiting for the operator" }
