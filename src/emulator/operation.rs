//! The operations that the emulator serves.

/// The API version that requests to the Live API must specify.
pub const LIVE_VERSION: &str = "2016-11-01";
/// The API version that requests to STS must specify.
pub const STS_VERSION: &str = "2015-04-01";

/// One operation of the Live API or of STS, or a request to the ECS metadata service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// Creates a group: `CreateLiveMessageGroup`.
    CreateGroup,
    /// Reads a group: `DescribeLiveMessageGroup`.
    DescribeGroup,
    /// Changes a group: `ModifyLiveMessageGroup`.
    ModifyGroup,
    /// Deletes a group: `DeleteLiveMessageGroup`.
    DeleteGroup,
    /// Recovers a deleted group: `RecoverLiveMessageDeletedGroup`.
    RecoverGroup,
    /// Lists groups by page number: `ListLiveMessageGroupByPage`.
    ListGroupsByPage,
    /// Lists groups by token: `ListLiveMessageGroups`.
    ListGroups,
    /// Creates an app: `CreateLiveMessageApp`.
    CreateApp,
    /// Reads an app: `DescribeLiveMessageApp`.
    DescribeApp,
    /// Lists apps: `ListLiveMessageApps`.
    ListApps,
    /// Changes the audit settings of an app: `ModifyLiveMessageAppAudit`.
    ModifyAppAudit,
    /// Changes the callback URL of an app: `ModifyLiveMessageAppCallback`.
    ModifyAppCallback,
    /// Disables or enables an app: `ModifyLiveMessageAppDisable`.
    ModifyAppDisable,
    /// Assumes a role: `AssumeRole` of STS. Its requests are signed like requests to the Live API.
    AssumeRole,
    /// Assumes a role with an OIDC token: `AssumeRoleWithOIDC` of STS. It is the only API operation whose requests are
    /// not signed.
    AssumeRoleWithOidc,
    /// `EcsMetadata`: the emulator's own name for every request to the ECS metadata service.
    EcsMetadata,
}

impl Operation {
    /// Every operation, in the order of declaration.
    pub const ALL: [Self; 16] = [
        Self::CreateGroup,
        Self::DescribeGroup,
        Self::ModifyGroup,
        Self::DeleteGroup,
        Self::RecoverGroup,
        Self::ListGroupsByPage,
        Self::ListGroups,
        Self::CreateApp,
        Self::DescribeApp,
        Self::ListApps,
        Self::ModifyAppAudit,
        Self::ModifyAppCallback,
        Self::ModifyAppDisable,
        Self::AssumeRole,
        Self::AssumeRoleWithOidc,
        Self::EcsMetadata,
    ];

    /// Whether the operation belongs to the Live API.
    pub fn is_live(self) -> bool {
        !matches!(self, Self::AssumeRole | Self::AssumeRoleWithOidc | Self::EcsMetadata)
    }

    /// Returns the API version that a request must specify.
    pub fn version(self) -> &'static str {
        if self.is_live() { LIVE_VERSION } else { STS_VERSION }
    }

    /// Returns the name of the operation in a request. A V3 request contains the name in the header `x-acs-action`, and
    /// a V1 request contains it in the parameter `Action`.
    pub fn name(self) -> &'static str {
        match self {
            Self::CreateGroup => "CreateLiveMessageGroup",
            Self::DescribeGroup => "DescribeLiveMessageGroup",
            Self::ModifyGroup => "ModifyLiveMessageGroup",
            Self::DeleteGroup => "DeleteLiveMessageGroup",
            Self::RecoverGroup => "RecoverLiveMessageDeletedGroup",
            Self::ListGroupsByPage => "ListLiveMessageGroupByPage",
            Self::ListGroups => "ListLiveMessageGroups",
            Self::CreateApp => "CreateLiveMessageApp",
            Self::DescribeApp => "DescribeLiveMessageApp",
            Self::ListApps => "ListLiveMessageApps",
            Self::ModifyAppAudit => "ModifyLiveMessageAppAudit",
            Self::ModifyAppCallback => "ModifyLiveMessageAppCallback",
            Self::ModifyAppDisable => "ModifyLiveMessageAppDisable",
            Self::AssumeRole => "AssumeRole",
            Self::AssumeRoleWithOidc => "AssumeRoleWithOIDC",
            Self::EcsMetadata => "EcsMetadata",
        }
    }

    /// Returns the operation with this [name](Self::name). Names are case-sensitive.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.name() == name)
    }
}
