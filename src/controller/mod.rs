//! Watch, queue, reconcile, status: the loop that turns objects into groups.
