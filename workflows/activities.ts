import { proxyActivities, proxyLocalActivities } from '@temporalio/workflow';
import type { ClusterActivities } from '../activities/cluster-activities.ts';
import { ADOPT, AWAIT, CONFIRM, CREATE, DELETE, PLAN, PROJECT, PROJECT_AT_ONCE, PUBLISH, SURVEY } from './timeouts.ts';

export const { planMount, findMounts, nodeState, targetState, adoptMount, settleMount, tellOwner } =
  proxyActivities<ClusterActivities>(PLAN);
export const { checkAdoption } = proxyActivities<ClusterActivities>(ADOPT);
export const { createSlave } = proxyActivities<ClusterActivities>(CREATE);
export const { awaitScheduled, lookScheduled } = proxyActivities<ClusterActivities>(AWAIT);
export const { deleteSlave } = proxyActivities<ClusterActivities>(DELETE);
export const { publish, publishFailedUnmount } = proxyActivities<ClusterActivities>(PUBLISH);
export const { surveyMounts } = proxyActivities<ClusterActivities>(SURVEY);
export const { confirmMounts, showMount } = proxyActivities<ClusterActivities>(CONFIRM);
export const { projectMount } = proxyActivities<ClusterActivities>(PROJECT);
export const { projectMount: projectMountAtOnce } = proxyLocalActivities<ClusterActivities>(PROJECT_AT_ONCE);
