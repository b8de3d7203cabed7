//! Tests with an apiserver that is unavailable, and with a network that silently stops forwarding data.

mod outages;
mod silence;
