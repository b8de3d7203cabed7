-- Argo CD health check of LiveMessageGroups and LiveAccounts, whose status follows docs/status.md.
--
-- The status follows kstatus: the observed generation first, then Stalled and Ready. A pause comes before both: the
-- operator does not act on changes until the pause ends. Argo CD runs this script without the standard libraries, and
-- not for an object that is being deleted.

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
