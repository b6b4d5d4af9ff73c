/** Word for word from the original's API page, comments included. */
export const ORIGINAL_BODY = `{
    "resources": {   // requested k8s node resource name
        "volcano.sh/vgpu-number":"1",
        "volcano.sh/vgpu-memory":"2000"
    },
    "annotations": { // slave pod annotation
        "device-mounter.io/expansion":"true"
    }
}`;
/** From a later edition of it. */
export const LATER_ORIGINAL_BODY = `{
"resources": { // requested k8s node resource name
"volcano.sh/vgpu-number":"1",
"volcano.sh/vgpu-memory":"2000"
},
"annotations": { // slave pod annotation
"device-mounter.io/expansion":"true"
},
"labels": { // slave pod labels
"app":"slave-pod"
},
"patches": [ // json patch rules
"{\\"op\\":\\"replace\\",\\"path\\":\\"/spec/schedulerName\\",\\"value\\": \\"volcano\\"}"
]
}`;
