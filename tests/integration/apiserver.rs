//! An apiserver that is unavailable, or that a silent network separates from the operator.

mod outages;
mod silence;
