//! The operations the emulator knows.

/// The version of the Live API.
pub const LIVE_VERSION: &str = "2016-11-01";
/// The version of STS.
pub const STS_VERSION: &str = "2015-04-01";

/// One operation of the Live API or of STS, or a request to the ECS metadata service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// `CreateLiveMessageGroup`.
    CreateGroup,
    /// `DescribeLiveMessageGroup`.
    DescribeGroup,
    /// `ModifyLiveMessageGroup`.
    ModifyGroup,
    /// `DeleteLiveMessageGroup`.
    DeleteGroup,
    /// `RecoverLiveMessageDeletedGroup`.
    RecoverGroup,
    /// `ListLiveMessageGroupByPage`.
    ListGroupsByPage,
    /// `ListLiveMessageGroups`.
    ListGroups,
    /// `CreateLiveMessageApp`.
    CreateApp,
    /// `DescribeLiveMessageApp`.
    DescribeApp,
    /// `ListLiveMessageApps`.
    ListApps,
    /// `ModifyLiveMessageAppAudit`.
    ModifyAppAudit,
    /// `ModifyLiveMessageAppCallback`.
    ModifyAppCallback,
    /// `ModifyLiveMessageAppDisable`.
    ModifyAppDisable,
    /// `AssumeRole` of STS.
    AssumeRole,
    /// `AssumeRoleWithOIDC` of STS: the only one that is not signed.
    AssumeRoleWithOidc,
    /// `EcsMetadata`: the emulator's name for any request to the ECS metadata service.
    EcsMetadata,
}

impl Operation {
    /// Every operation.
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

    /// Whether it is one of the Live API.
    pub fn is_live(self) -> bool {
        !matches!(self, Self::AssumeRole | Self::AssumeRoleWithOidc | Self::EcsMetadata)
    }

    /// The version of its API.
    pub fn version(self) -> &'static str {
        if self.is_live() { LIVE_VERSION } else { STS_VERSION }
    }

    /// The name on the wire: `x-acs-action`, or the parameter `Action` of signature V1.
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

    /// The operation of that name; names are case-sensitive.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.name() == name)
    }
}
