-- Argo CD health check of Applications, which have none by default. With it, an app of apps waits for the Applications
-- of a sync wave before it syncs the next wave.

local health = (obj.status or {}).health or {}
return { status = health.status or "Progressing", message = health.message or "" }
