
-- Log @what@
SELECT util.log_deployment_start(
    @name@,
    @text@
);
