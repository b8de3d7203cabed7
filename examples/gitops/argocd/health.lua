-- Health of LiveMessageGroups, and of every kind whose status follows docs/status.md, for Argo CD.
-- The status has the shape of kstatus: a generation that was not acted on comes first, then who has to act.
-- Argo CD runs this without the standard libraries, and not at all for an object that is being deleted.

local status = obj.status
if status == nil or status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "Waiting for the operator" }
end

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
if holds("Stalled") then
  return { status = "Degraded", message = conditions.Stalled.message }
end
if holds("Ready") then
  return { status = "Healthy", message = conditions.Ready.message }
end
local why = conditions.Reconciling or conditions.Ready or {}
return { status = "Progressing", message = why.message or "Waiting for the operator" }
