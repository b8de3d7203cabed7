//! Tests with an apiserver that is unavailable, or whose connections stop forwarding data without an error.

mod outages;
mod silence;
