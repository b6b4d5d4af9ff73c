module device-mounter.io/local/runc-without-limits

go 1.26
