//! The policies of a `LiveMessageGroup`, which limit the operator's calls for the group. They may be changed at any
//! time.

use serde::{Deserialize, Serialize};

macro_rules! policy {
    ($(#[$doc:meta])+ $name:ident { $($(#[$value_doc:meta])+ $value:ident,)+ }) => {
        $(#[$doc])+
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$value_doc])+ $value,)+
        }

        impl $name {
            /// Every value. The default is the first one.
            pub const ALL: &'static [Self] = &[$(Self::$value,)+];

            /// The value in the spec.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$value => stringify!($value),)+ }
            }
        }
    };
}

policy! {
    /// The changes that the operator may make to the group.
    ManagementPolicy {
        /// Create or adopt the group, and keep its mutable fields in sync with the spec.
        #[default]
        Manage,
        /// Create or adopt the group, recreate it if it no longer exists, and never modify it.
        CreateOnly,
        /// Never create, modify, recover or delete the group.
        Observe,
    }
}

policy! {
    /// The effect of an object's deletion on its group.
    DeletionPolicy {
        /// The group is retained.
        #[default]
        Retain,
        /// The group is deleted if this object created it.
        Delete,
    }
}

policy! {
    /// The reaction to a group that was deleted in the Live API.
    DeletedGroupPolicy {
        /// The object becomes `Degraded`.
        #[default]
        Report,
        /// The group is recovered.
        Recover,
    }
}
